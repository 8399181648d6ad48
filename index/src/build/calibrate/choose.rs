//! The cheapest setting for each k and target.

use rayon::prelude::*;

use super::evaluate::{Evaluated, Outlook};
use crate::build::run::Build;
use crate::calibration::{CALIBRATED_K, CALIBRATED_TARGETS, Calibration, RouterSetting, Setting};
use crate::router::Router;

/// The share of the nearest lists the router must find when a number of lists is asked for.
const ROUTER_RECALL: f64 = 0.99;
/// A read's price in microseconds: to start it, and for each KiB. About what one core and one SSD need.
const READ_US: f64 = 10.0;
const READ_US_PER_KIB: f64 = 0.8;
/// A centroid's price in microseconds, for each dimension.
const CENTROID_US: f64 = 0.0002;

/// Chooses the settings of the whole table.
pub(super) fn choose(build: &Build<'_>, router: &Router, evaluated: &Evaluated) -> Calibration {
    let list_bytes = build.state.postings_bytes as f64 / f64::from(build.state.lists);
    let prices = Prices {
        list_us: READ_US + READ_US_PER_KIB * list_bytes / 1024.0,
        node_us: router.lists().rows() as f64 / router.nodes().rows() as f64
            * router.lists().dim() as f64
            * CENTROID_US,
    };
    let wanted: Vec<(u32, f32)> =
        CALIBRATED_K.iter().flat_map(|&k| CALIBRATED_TARGETS.map(|target| (k, target))).collect();
    let settings = wanted
        .par_iter()
        .map(|&(k, target)| {
            let mut setting =
                cheapest(evaluated, &prices, k, target).unwrap_or_else(|| everything(router, k, target));
            setting.bytes = (f64::from(setting.lists) * list_bytes) as f32;
            setting
        })
        .collect();
    Calibration { settings, router: router_settings(evaluated), ..Calibration::default() }
}

struct Prices {
    list_us: f64,
    node_us: f64,
}

/// A setting that cannot miss.
fn everything(router: &Router, k: u32, target: f32) -> Setting {
    Setting {
        k,
        target,
        nprobe: router.lists().rows() as u32,
        ratio: f32::INFINITY,
        breadth: router.nodes().rows() as u32,
        recall: 1.0,
        lists: router.lists().rows() as f32,
        bytes: 0.0,
        router_recall: 1.0,
    }
}

fn cheapest(evaluated: &Evaluated, prices: &Prices, k: u32, target: f32) -> Option<Setting> {
    let mut best: Option<(f64, Setting)> = None;
    for (b, &breadth) in evaluated.breadths.iter().enumerate() {
        let outlooks = &evaluated.outlooks[b];
        for (r, &ratio) in evaluated.ratios.iter().enumerate() {
            let Some((nprobe, recall)) = fewest(outlooks, k as usize, ratio, target) else { continue };
            let lists = mean(outlooks, |outlook| f64::from(outlook.within[r].min(nprobe)));
            let price = lists * prices.list_us + f64::from(breadth) * prices.node_us;
            if best.as_ref().is_none_or(|(least, _)| price < *least) {
                let (recall, lists) = (recall as f32, lists as f32);
                let router_recall = router_recall(outlooks, nprobe) as f32;
                let setting =
                    Setting { k, target, nprobe, ratio, breadth, recall, lists, bytes: 0.0, router_recall };
                best = Some((price, setting));
            }
        }
    }
    best.map(|(_, setting)| setting)
}

/// The fewest lists that reach the target within a ratio, and the mean recall they reach.
///
/// What counts is not the mean over the queries but a bound below it, so that chance in the choice of the queries
/// is on the user's side: the fewer queries, the more.
fn fewest(outlooks: &[Outlook], k: usize, ratio: f32, target: f32) -> Option<(u32, f64)> {
    let reaches = |nprobe: u32| {
        let (mean, bound) = recall(outlooks, k, ratio, nprobe);
        (bound >= f64::from(target)).then_some(mean)
    };
    let longest = outlooks.iter().map(|outlook| *outlook.within.last().unwrap_or(&0)).max()?;
    reaches(longest)?;
    let (mut low, mut high) = (1, longest.max(1));
    while low < high {
        let middle = low + (high - low) / 2;
        if reaches(middle).is_some() {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some((high, reaches(high)?))
}

/// The mean recall@k over the queries, and the bound below it.
fn recall(outlooks: &[Outlook], k: usize, ratio: f32, nprobe: u32) -> (f64, f64) {
    let n = outlooks.len() as f64;
    let (mut sum, mut squares) = (0.0, 0.0);
    for outlook in outlooks {
        let neighbours = &outlook.met[..k.min(outlook.met.len())];
        let met = neighbours.iter().filter(|(rank, at)| *rank < nprobe && *at <= ratio).count();
        let recall = met as f64 / neighbours.len().max(1) as f64;
        sum += recall;
        squares += recall * recall;
    }
    let mean = sum / n;
    let error = ((squares / n - mean * mean).max(0.0) / n).sqrt();
    (mean, mean - (1.0 + 10.0 / n.sqrt()) * error)
}

/// The share of the nearest lists that are seen, for the power of two at or above `nprobe`.
fn router_recall(outlooks: &[Outlook], nprobe: u32) -> f64 {
    let Some(last) = outlooks.first().and_then(|outlook| outlook.seen.len().checked_sub(1)) else {
        return 1.0;
    };
    let at = (nprobe.max(1).next_power_of_two().trailing_zeros() as usize).min(last);
    mean(outlooks, |outlook| f64::from(outlook.seen[at])) / f64::from(1u32 << at)
}

/// For 1, 2, 4 … lists: the narrowest routing that finds nearly all of them.
fn router_settings(evaluated: &Evaluated) -> Vec<RouterSetting> {
    let powers =
        evaluated.outlooks.first().and_then(|all| all.first()).map_or(0, |outlook| outlook.seen.len());
    (0..powers)
        .filter_map(|power| {
            let nprobe = 1u32 << power;
            let recalls = evaluated.outlooks.iter().map(|outlooks| router_recall(outlooks, nprobe));
            let found = evaluated.breadths.iter().zip(recalls).find(|(_, recall)| *recall >= ROUTER_RECALL);
            found.map(|(&breadth, recall)| RouterSetting { nprobe, breadth, recall: recall as f32 })
        })
        .collect()
}

fn mean(outlooks: &[Outlook], of: impl Fn(&Outlook) -> f64) -> f64 {
    outlooks.iter().map(of).sum::<f64>() / outlooks.len() as f64
}
