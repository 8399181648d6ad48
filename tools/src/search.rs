//! Many queries on many threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nearline::{Answer, SearchOptions, Searcher};

use crate::{exit, interrupt};

/// Queries a thread takes at a time.
const TURN: usize = 64;

/// What searching cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) queries: u64,
    pub(crate) lists: u64,
    pub(crate) cached: u64,
    pub(crate) reads: u64,
    pub(crate) bytes: u64,
    pub(crate) enters: u64,
    pub(crate) reranked: u64,
    pub(crate) entries: u64,
    pub(crate) refined: u64,
    pub(crate) route_us: f64,
    pub(crate) scan_us: f64,
    pub(crate) rerank_us: f64,
    /// Queries that a budget cut short.
    pub(crate) cut: u64,
    /// Seconds from the first query to the last answer.
    pub(crate) wall_s: f64,
}

impl Tally {
    fn count(&mut self, answer: &Answer) {
        let cost = &answer.cost;
        self.queries += 1;
        self.lists += cost.lists;
        self.cached += cost.cached;
        self.reads += cost.reads;
        self.bytes += cost.bytes;
        self.enters += cost.enters;
        self.reranked += cost.reranked;
        self.entries += cost.entries;
        self.refined += cost.refined;
        self.route_us += cost.route_us;
        self.scan_us += cost.scan_us;
        self.rerank_us += cost.rerank_us;
        self.cut += u64::from(answer.cut);
    }

    /// Adds what later queries cost.
    pub(crate) fn add(&mut self, other: &Self) {
        self.queries += other.queries;
        self.lists += other.lists;
        self.cached += other.cached;
        self.reads += other.reads;
        self.bytes += other.bytes;
        self.enters += other.enters;
        self.reranked += other.reranked;
        self.entries += other.entries;
        self.refined += other.refined;
        self.route_us += other.route_us;
        self.scan_us += other.scan_us;
        self.rerank_us += other.rerank_us;
        self.cut += other.cut;
        self.wall_s += other.wall_s;
    }

    /// `total` per query.
    pub(crate) fn per_query(&self, total: u64) -> f64 {
        total as f64 / self.queries.max(1) as f64
    }

    /// Microseconds per query out of a sum of them.
    pub(crate) fn us_per_query(&self, total: f64) -> f64 {
        total / self.queries.max(1) as f64
    }

    pub(crate) fn qps(&self) -> f64 {
        self.queries as f64 / self.wall_s.max(1e-9)
    }
}

/// Queries to search for, and room for what is kept of their answers.
pub(crate) struct Batch<'a, T> {
    /// Whole rows.
    pub(crate) rows: &'a [u8],
    pub(crate) row_bytes: usize,
    /// Microseconds of each query.
    pub(crate) latencies: &'a mut [f32],
    /// So many slots for each query.
    pub(crate) kept: &'a mut [T],
    pub(crate) kept_per_query: usize,
    /// Number of the first query.
    pub(crate) first: usize,
}

/// Some queries of a batch: the first one's number, rows, latencies, slots.
type Turn<'a, T> = (usize, &'a [u8], &'a mut [f32], &'a mut [T]);

/// Searches for every query of a batch, with a thread for each searcher. `keep` gets a query's number, its answer
/// and its slots.
pub(crate) fn run<T: Send>(
    searchers: &mut [Searcher],
    options: &SearchOptions,
    overlap: usize,
    batch: Batch<'_, T>,
    keep: &(dyn Fn(usize, &Answer, &mut [T]) + Sync),
) -> anyhow::Result<Tally> {
    let row_bytes = batch.row_bytes;
    let numbers = (batch.first..).step_by(TURN);
    let rows = batch.rows.chunks(row_bytes * TURN);
    let slots = batch.latencies.chunks_mut(TURN).zip(batch.kept.chunks_mut(batch.kept_per_query * TURN));
    let turns = numbers.zip(rows).zip(slots).map(|((number, rows), (us, kept))| (number, rows, us, kept));
    let (turns, stop) = (Mutex::new(turns), AtomicBool::new(false));
    let next = || match stop.load(Ordering::Relaxed) {
        true => None,
        false => turns.lock().unwrap_or_else(PoisonError::into_inner).next(),
    };
    let work = |searcher: &mut Searcher| -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        while let Some(turn) = next() {
            let done = take_turn(searcher, options, (overlap, row_bytes), turn, keep, &mut tally);
            done.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(tally)
    };
    let started = Instant::now();
    let mut sum = join(searchers, &work)?;
    sum.wall_s = started.elapsed().as_secs_f64();
    Ok(sum)
}

/// Runs `work` on a thread for each searcher; the first error, if any, is the result.
fn join(
    searchers: &mut [Searcher],
    work: &(dyn Fn(&mut Searcher) -> anyhow::Result<Tally> + Sync),
) -> anyhow::Result<Tally> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            searchers.iter_mut().map(|searcher| scope.spawn(move || work(searcher))).collect();
        let mut sum = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(tally) => sum.add(&tally?),
                Err(_) => return Err(exit::fail(exit::Exit::Internal, "a searching thread panicked")),
            }
        }
        Ok(sum)
    })
}

fn take_turn<T>(
    searcher: &mut Searcher,
    options: &SearchOptions,
    (overlap, row_bytes): (usize, usize),
    (first, rows, latencies, kept): Turn<'_, T>,
    keep: &(dyn Fn(usize, &Answer, &mut [T]) + Sync),
    tally: &mut Tally,
) -> anyhow::Result<()> {
    interrupt::check()?;
    let slots = (kept.len() / latencies.len().max(1)).max(1);
    let queries: Vec<&[u8]> = rows.chunks_exact(row_bytes).collect();
    searcher.search_many(&queries, options, overlap, &mut |i, answer| {
        latencies[i] = answer.cost.total_us as f32;
        tally.count(&answer);
        keep(first + i, &answer, &mut kept[i * slots..(i + 1) * slots]);
    })?;
    Ok(())
}

/// The mean and some percentiles of latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Latency {
    pub(crate) mean_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Sums up latencies, which are sorted on the way.
pub(crate) fn latency(us: &mut [f32]) -> Latency {
    us.sort_unstable_by(f32::total_cmp);
    let sum: f64 = us.iter().map(|&us| f64::from(us)).sum();
    Latency {
        mean_us: sum / us.len().max(1) as f64,
        p50_us: percentile(us, 0.50),
        p99_us: percentile(us, 0.99),
    }
}

/// The smallest value that so large a part of all values does not exceed.
fn percentile(sorted: &[f32], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |&us| f64::from(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut us: Vec<f32> = (1..=100).rev().map(|us| us as f32).collect();
        assert_eq!(latency(&mut us), Latency { mean_us: 50.5, p50_us: 50.0, p99_us: 99.0 });
        assert_eq!(latency(&mut [7.0]), Latency { mean_us: 7.0, p50_us: 7.0, p99_us: 7.0 });
        assert_eq!(latency(&mut []), Latency::default());
    }
}
