//! How much wider an index that has grown must be searched than it was when it was calibrated.
//!
//! Some of its own vectors stand in for queries. What a far wider search finds is taken for the truth.

use super::Live;
use crate::error::Result;
use crate::search::{Filter, Index, Probe, Rerank, SearchOptions, Searcher};
use crate::vector::RowId;

/// Recalls that are looked at, the hardest first, and neighbours wanted.
const TARGETS: [f32; 3] = [0.99, 0.95, 0.9];
const K: usize = 10;
/// A step of the factor, and the largest.
const STEP: f32 = 1.25;
const MOST: f32 = 16.0;
/// The truth is looked for in so many times as many lists, and so many more.
const TRUTH: (usize, usize) = (4, 32);

/// The factor by which searches of `index` shall look at more lists, starting from `live.widen`: the least, in steps, that
/// reaches the recalls they are asked for.
///
/// `queries` are rows with their vectors; none is its own neighbour. `is_dead` says of a row whether it is left out.
///
/// # Errors
/// As [`Searcher::search_live`].
pub fn measure(
    index: &Index,
    live: &Live,
    queries: &[(RowId, Vec<u8>)],
    is_dead: &(dyn Fn(RowId) -> bool + Sync),
) -> Result<f32> {
    // A row is not its own neighbour.
    let k = K.min((index.info().rows as usize).saturating_sub(1));
    if k == 0 {
        return Ok(live.widen.max(1.0));
    }
    let mut searcher = index.searcher();
    let nprobe = |setting: crate::Setting| setting.nprobe as usize;
    let calibration = &index.info().calibration;
    let wide = calibration.setting(crate::Residency::Lists, K, TARGETS[0]).map_or(usize::MAX, nprobe);
    let lists = wide.saturating_mul(TRUTH.0).saturating_add(TRUTH.1);
    let mut truth = Vec::with_capacity(queries.len());
    for query in queries {
        truth.push(nearest(&mut searcher, live, query, (k, Probe::Lists(lists)), is_dead)?);
    }
    let mut does = |widen: f32| -> Result<bool> {
        let live = Live { widen, ..live.clone() };
        for target in TARGETS {
            let wanted: usize = truth.iter().map(Vec::len).sum();
            let (mut missed, most) = (0, wanted - (target * wanted as f32).ceil() as usize);
            for (query, truth) in queries.iter().zip(&truth) {
                let answer = nearest(&mut searcher, &live, query, (k, Probe::TargetRecall(target)), is_dead)?;
                let limit = truth.last().map_or(0.0, |last| last.1);
                let found = answer.iter().filter(|hit| hit.1 <= limit).count();
                missed += truth.len().saturating_sub(found);
                // The rest cannot make up for it.
                if missed > most {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    };
    let mut widen = live.widen.max(1.0);
    if does(widen)? {
        // It may be too wide by now.
        while widen > 1.0 && does((widen / STEP).max(1.0))? {
            widen = (widen / STEP).max(1.0);
        }
        return Ok(widen);
    }
    while widen < MOST {
        widen *= STEP;
        if does(widen)? {
            break;
        }
    }
    Ok(widen)
}

/// The nearest rows to a row, itself left out.
fn nearest(
    searcher: &mut Searcher,
    live: &Live,
    (own, vector): &(RowId, Vec<u8>),
    (k, probe): (usize, Probe),
    is_dead: &(dyn Fn(RowId) -> bool + Sync),
) -> Result<Vec<(RowId, f32)>> {
    let allows = |row: RowId| row != *own && !is_dead(row);
    let options = SearchOptions { k, probe, rerank: Rerank::Exact, ..SearchOptions::default() };
    let answer = searcher.search_live(vector, &options, Filter { allows: &allows, share: 1.0 }, live)?;
    Ok(answer.hits.iter().map(|hit| (hit.row, hit.distance)).collect())
}
