//! The cheapest setting for each residency, k and target.

use rayon::prelude::*;

use super::NEIGHBOURS;
use super::collect::{KEPT, Notes};
use super::sight::{RANKED, Sights};
use super::simulate::{Outcome, Simulation, Trial, ahead_of};
use crate::build::run::Build;
use crate::calibration::{CALIBRATED_K, CALIBRATED_TARGETS, Calibration, Residency, Setting};
use crate::rows::RowLayout;
use crate::topk::Candidate;

/// A read's price in microseconds: to start it, and for each KiB. About what one core and one SSD need.
const READ_US: f64 = 10.0;
const READ_US_PER_KIB: f64 = 0.8;
/// What the processor takes for scoring a list, and for starting a read of a row and comparing it.
const LIST_US: f64 = 0.7;
const ROW_US: f64 = 12.0;
/// The price of ranking a list that may be probed, whether it is or not.
const RANK_US: f64 = 0.5;
/// Dimensions tried for the balls by which recall is estimated.
const DIMENSIONS: [f32; 9] = [4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0];
/// How many times more lists than a fixed number may be probed where the estimate says so.
const HORIZONS: [f64; 2] = [2.0, 4.0];
/// Recalls to stop at that are told apart.
const STOPS: u32 = 128;
/// Widths of the intervals within which candidates are reranked.
const WIDTHS: [f32; 3] = [0.0, 0.4, 0.8];

/// Chooses the settings of the whole table.
pub(super) fn choose(
    build: &Build<'_>,
    sights: &Sights,
    truth: &[Vec<Candidate>],
    notes: &[Notes],
) -> Calibration {
    let prices = Prices::new(build);
    let chooser = |notes, k: u32, dimension| Chooser {
        simulation: Simulation::new(sights, notes, truth, k as usize, dimension),
        prices: &prices,
    };
    // The dimension that serves the most usual question best serves all.
    let typical = |&dimension: &f32| {
        let (_, best) = chooser(&notes[0], 10, dimension).cheapest(10, 0.95, 1);
        (best.map_or(f64::INFINITY, |(price, _)| price), dimension)
    };
    let priced: Vec<(f64, f32)> = DIMENSIONS.par_iter().map(typical).collect();
    let dimension = priced.iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(16.0, |best| best.1);
    let wanted: Vec<(&Notes, u32)> =
        notes.iter().flat_map(|notes| CALIBRATED_K.map(|k| (notes, k))).collect();
    let settings: Vec<Vec<Setting>> =
        wanted.par_iter().map(|&(notes, k)| chooser(notes, k, dimension).of_all_targets(k)).collect();
    let settings = settings.concat();
    let heat = heat(build, sights, &settings);
    Calibration { dimension, settings, router: sights.router.clone(), heat, ..Calibration::default() }
}

/// How often each list is probed, when queries look a little farther than they usually do.
fn heat(build: &Build<'_>, sights: &Sights, settings: &[Setting]) -> Vec<u32> {
    let mut heat = vec![0; build.state.lists as usize];
    let typical = settings.iter().find(|setting| setting.k == 10 && setting.target >= 0.95);
    let lists = typical.map_or(RANKED, |setting| 2 * setting.lists.ceil() as usize);
    for sight in &sights.queries {
        for list in sight.lists.iter().take(lists) {
            heat[list.at as usize] += 1;
        }
    }
    heat
}

/// What reads cost.
struct Prices {
    list_us: f64,
    list_bytes: f64,
    row_us: f64,
    row_bytes: f64,
    /// Whether there are rows to rerank with.
    rows: bool,
}

impl Prices {
    fn new(build: &Build<'_>) -> Self {
        let read_us = |bytes: f64| READ_US + READ_US_PER_KIB * bytes / 1024.0;
        let list_bytes = build.state.postings_bytes as f64 / f64::from(build.state.lists);
        let row_bytes = RowLayout::new(build.shape).bytes as f64;
        let (list_us, row_us) = (read_us(list_bytes), read_us(row_bytes));
        Self { list_us, list_bytes, row_us, row_bytes, rows: build.reranks() }
    }
}

struct Chooser<'a> {
    simulation: Simulation<'a>,
    prices: &'a Prices,
}

impl Chooser<'_> {
    /// The cheapest setting for each target that anything short of everything reaches.
    fn of_all_targets(&self, k: u32) -> Vec<Setting> {
        let mut least = 1;
        let best = CALIBRATED_TARGETS.iter().filter_map(|&target| {
            let (fewest, best) = self.cheapest(k, target, least);
            least = fewest;
            best.map(|(_, setting)| setting)
        });
        best.collect()
    }

    /// The cheapest setting and its price, if any. No fewer than `least` lists can do; the fewest that do come first.
    fn cheapest(&self, k: u32, target: f32, least: u32) -> (u32, Option<(f64, Setting)>) {
        let mut fixed: Vec<(Trial, Outcome)> = Vec::new();
        for &width in WIDTHS.iter().filter(|&&width| self.is_possible(width)) {
            // Without a second look there is no use for more than are wanted.
            let depths = if width == 0.0 { vec![k as usize] } else { depths(self.residency(), k as usize) };
            for depth in depths {
                fixed.extend(self.fixed(k as usize, depth, width, target, least));
            }
        }
        // Where lists alone do not help, more candidates may.
        let widest = WIDTHS[WIDTHS.len() - 1];
        if fixed.is_empty() && self.is_possible(widest) {
            fixed.extend(self.fixed(k as usize, KEPT, widest, target, least));
        }
        let by_price = |a: &(Trial, Outcome), b: &(Trial, Outcome)| self.price(a).total_cmp(&self.price(b));
        let fewest = fixed.iter().map(|(trial, _)| trial.nprobe).min().unwrap_or(least);
        let Some(fixed) = fixed.into_iter().min_by(by_price) else { return (fewest, None) };
        let adaptive = HORIZONS.iter().filter_map(|&horizon| self.adaptive(&fixed, horizon, target));
        let best = adaptive.chain([fixed]).min_by(by_price);
        let priced = |best| (self.price(&best), self.setting(&best.0, &best.1, target));
        (fewest, best.map(priced))
    }

    fn residency(&self) -> Residency {
        self.simulation.notes.residency
    }

    /// Without rows nothing can be reranked; with signs alone nothing else can be answered.
    fn is_possible(&self, width: f32) -> bool {
        if width == 0.0 { self.residency() != Residency::Signs } else { self.prices.rows }
    }

    /// The fewest lists that reach the target, the same for every query.
    fn fixed(
        &self,
        k: usize,
        depth: usize,
        rerank: f32,
        target: f32,
        least: u32,
    ) -> Option<(Trial, Outcome)> {
        let trial = |nprobe: u32| {
            let (breadth, _) = self.simulation.sights.breadth(nprobe);
            let ahead = ahead_of(self.residency(), nprobe.into());
            Trial { k, nprobe, breadth, stop: f32::INFINITY, ahead, depth, rerank }
        };
        let run = |nprobe: u32| self.simulation.run(&trial(nprobe));
        let reaches = |nprobe: u32| run(nprobe).bound >= f64::from(target);
        let ranked = self.simulation.sights.queries.iter().map(|sight| sight.lists.len()).min()? as u32;
        let high = grow_until(least.min(ranked), ranked, reaches)?;
        let nprobe = bisect((high * 2 / 3).max(least).saturating_sub(1), high, reaches);
        Some((trial(nprobe), run(nprobe)))
    }

    /// The estimated recall to stop at, when more lists than that may be probed.
    fn adaptive(&self, fixed: &(Trial, Outcome), horizon: f64, target: f32) -> Option<(Trial, Outcome)> {
        let ranked = self.simulation.sights.queries.iter().map(|sight| sight.lists.len()).min()?;
        let nprobe = ((f64::from(fixed.0.nprobe) * horizon).ceil() as usize).min(ranked) as u32;
        let (breadth, _) = self.simulation.sights.breadth(nprobe);
        let ahead = ahead_of(self.residency(), fixed.1.lists * 0.8);
        let trial = |stop: f32| Trial { nprobe, breadth, stop, ahead, ..fixed.0 };
        // Finer towards 1.
        let stop = |step: u32| 1.0 - (1.0 - step as f32 / STOPS as f32).powi(2);
        let reaches = |step: u32| self.simulation.run(&trial(stop(step))).bound >= f64::from(target);
        if !reaches(STOPS - 1) {
            return None;
        }
        let trial = trial(stop(bisect(0, STOPS - 1, reaches)));
        Some((trial, self.simulation.run(&trial)))
    }

    /// What a query costs, in microseconds.
    fn price(&self, (trial, outcome): &(Trial, Outcome)) -> f64 {
        let work = LIST_US * outcome.lists + ROW_US * outcome.reranked + RANK_US * f64::from(trial.nprobe);
        self.disk_us(outcome) + work
    }

    fn disk_us(&self, outcome: &Outcome) -> f64 {
        let lists = if self.residency() == Residency::Lists { outcome.lists } else { 0.0 };
        lists * self.prices.list_us + outcome.reranked * self.prices.row_us
    }

    fn setting(&self, trial: &Trial, outcome: &Outcome, target: f32) -> Setting {
        let lists = if self.residency() == Residency::Lists { outcome.lists } else { 0.0 };
        Setting {
            residency: self.residency(),
            k: trial.k as u32,
            target,
            nprobe: trial.nprobe,
            stop: trial.stop,
            ahead: trial.ahead as u32,
            breadth: trial.breadth,
            depth: trial.depth as u32,
            rerank: trial.rerank,
            recall: outcome.recall as f32,
            lists: outcome.lists as f32,
            reranked: outcome.reranked as f32,
            bytes: (lists * self.prices.list_bytes + outcome.reranked * self.prices.row_bytes) as f32,
            disk_us: self.disk_us(outcome) as f32,
            router_recall: self.simulation.sights.breadth(trial.nprobe).1,
        }
    }
}

/// Numbers of candidates to keep, for a `k`.
fn depths(residency: Residency, k: usize) -> Vec<usize> {
    match residency {
        Residency::Signs => vec![(4 * k + 60).min(KEPT), KEPT],
        _ => vec![(2 * k + 20).min(KEPT)],
    }
}

/// The first that reaches of `least`, half as much again, and so on up to `most`.
fn grow_until(least: u32, most: u32, reaches: impl Fn(u32) -> bool) -> Option<u32> {
    let next = |n: &u32| Some((n + n.div_ceil(2)).min(most));
    std::iter::successors(Some(least), next).take_while(|&n| n < most).chain([most]).find(|&n| reaches(n))
}

/// The least number above `low`, which does not reach, up to `high`, which does.
fn bisect(mut low: u32, mut high: u32, reaches: impl Fn(u32) -> bool) -> u32 {
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if reaches(middle) { high = middle } else { low = middle }
    }
    high
}

// As many candidates are noted as the largest k may need.
const _: () = assert!(KEPT >= 2 * NEIGHBOURS + 20);
