//! One query: route, read the chosen lists in one round, score each as it arrives, keep the k nearest.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use nearline_storage::{BatchReader, ReadRange};

use super::open::Inner;
use crate::error::{IndexError, Result};
use crate::ids::read_id;
use crate::metric::{Metric, Scorer};
use crate::posting::Posting;
use crate::router::{Near, RouteScratch, ratio_of};
use crate::topk::{Candidate, TopK};
use crate::vector::{RowId, Shape};

/// Which lists a search reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Probe {
    /// As many as the calibration says reach this mean recall@k; 1 reads all.
    TargetRecall(f32),
    /// The nearest so many.
    Lists(usize),
    /// All of them: the answer is exact.
    All,
}

/// What is asked of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOptions {
    /// Neighbours wanted, 1 to the number of vectors.
    pub k: usize,
    /// Which lists are read.
    pub probe: Probe,
}

/// A vector that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The point's id.
    pub id: u64,
    /// Its row in the input.
    pub row: RowId,
    /// Its distance; smaller is nearer.
    pub distance: f32,
}

/// What a search cost. Looking up point ids, if the index has any, is not in it: one page each, mostly cached.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Lists probed.
    pub lists: u64,
    /// Reads of the disk.
    pub reads: u64,
    /// Bytes of these reads.
    pub bytes: u64,
    /// Times the kernel was entered for them.
    pub enters: u64,
    /// Entries scored.
    pub entries: u64,
    /// Microseconds spent on choosing lists.
    pub route_us: f64,
    /// Microseconds spent on waiting for reads.
    pub read_us: f64,
    /// Microseconds spent on checking and scoring lists.
    pub scan_us: f64,
    /// Microseconds in all.
    pub total_us: f64,
}

/// An answer: the nearest vectors found, nearest first (ties by row), and what they cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The vectors.
    pub hits: Vec<Hit>,
    /// The cost.
    pub cost: Cost,
}

/// Searches an index, one query at a time. Make one for each thread and keep it: it owns its buffers.
pub struct Searcher {
    index: Arc<Inner>,
    reader: Box<dyn BatchReader>,
    route: RouteScratch,
    point: Vec<f32>,
    probes: Vec<Near>,
    distances: Vec<f32>,
    best: TopK,
    page: Vec<u8>,
}

impl std::fmt::Debug for Searcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Searcher").finish_non_exhaustive()
    }
}

impl Searcher {
    pub(super) fn new(index: Arc<Inner>) -> Result<Self> {
        let reader = index.postings.file().batch_reader(index.window)?;
        let point = vec![0.0; index.space.dim()];
        Ok(Self {
            index,
            reader,
            point,
            route: RouteScratch::default(),
            probes: Vec::new(),
            distances: Vec::new(),
            best: TopK::default(),
            page: Vec::new(),
        })
    }

    /// Finds the nearest vectors to `query`, a row of the index's type and length, little-endian.
    ///
    /// # Errors
    /// When the query or an option does not fit, or a list cannot be read. The searcher can be used again.
    pub fn search(&mut self, query: &[u8], options: &SearchOptions) -> Result<Answer> {
        let start = Instant::now();
        self.check(query, options)?;
        let before = self.reader.counters();
        let mut cost = Cost::default();
        self.choose(query, options)?;
        cost.route_us = micros(start);
        let scorer = Scorer::new(self.index.info.metric, self.shape(), query);
        self.best.reset(options.k, self.index.info.replicas);
        if let Err(error) = self.scan(&scorer, &mut cost) {
            self.reader.reset()?;
            return Err(error);
        }
        let hits = self.hits()?;
        let after = self.reader.counters();
        cost.lists = self.probes.len() as u64;
        cost.reads = after.reads - before.reads;
        cost.bytes = after.bytes - before.bytes;
        cost.enters = after.enters - before.enters;
        cost.total_us = micros(start);
        Ok(Answer { hits, cost })
    }

    fn shape(&self) -> Shape {
        self.index.space.shape
    }

    fn check(&self, query: &[u8], options: &SearchOptions) -> Result<()> {
        let shape = self.shape();
        if query.len() != shape.row_bytes() {
            let expected = format!("{} ({} x {})", shape.row_bytes(), shape.element, shape.dim);
            return Err(IndexError::input("query", format!("{} bytes", query.len()), expected));
        }
        shape.check_rows(query, 0, self.index.info.metric != Metric::Cosine, "query")?;
        if options.k == 0 || options.k as u64 > self.index.info.rows {
            let expected = format!("1 to {}, the number of vectors", self.index.info.rows);
            return Err(IndexError::option("k", options.k, expected));
        }
        match options.probe {
            Probe::Lists(0) => Err(IndexError::option("nprobe", 0, "1 or more")),
            Probe::TargetRecall(target) if !(target > 0.0 && target <= 1.0) => {
                Err(IndexError::option("target recall", target, "above 0 and at most 1"))
            }
            _ => Ok(()),
        }
    }

    /// Chooses the lists to probe, nearest first.
    fn choose(&mut self, query: &[u8], options: &SearchOptions) -> Result<()> {
        let (calibration, all) = (&self.index.info.calibration, self.index.info.lists as usize);
        let everywhere = self.index.info.nodes as usize;
        let (nprobe, ratio, breadth) = match options.probe {
            Probe::All => (all, f32::INFINITY, everywhere),
            Probe::Lists(n) => {
                let breadth = calibration.breadth(n).map_or(everywhere, |breadth| breadth as usize);
                (n.min(all), f32::INFINITY, breadth)
            }
            Probe::TargetRecall(target) => match calibration.setting(options.k, target) {
                Some(setting) => (setting.nprobe as usize, setting.ratio, setting.breadth as usize),
                None => (all, f32::INFINITY, everywhere),
            },
        };
        self.index.space.embed_query(query, &mut self.point);
        let near = self.index.router.route(&self.point, breadth, nprobe, &mut self.route);
        let within = near.partition_point(|list| ratio_of(list.distance, near[0].distance) <= ratio);
        self.probes.clear();
        self.probes.extend_from_slice(&near[..within]);
        Ok(())
    }

    /// Reads the lists, all in flight together as far as the window allows, and scores each as it arrives.
    fn scan(&mut self, scorer: &Scorer, cost: &mut Cost) -> Result<()> {
        let mut next = 0;
        let mut waiting = Instant::now();
        loop {
            while let Some(probe) = self.probes.get(next) {
                let range: ReadRange = self.index.directory.place(probe.at).range();
                if !self.reader.has_room(range) {
                    break;
                }
                self.reader.submit(next, range)?;
                next += 1;
            }
            let Some(read) = self.reader.wait()? else { return Ok(()) };
            let scanning = Instant::now();
            cost.read_us += (scanning - waiting).as_secs_f64() * 1e6;
            let list = self.probes[read.tag].at;
            let place = self.index.directory.place(list);
            let postings = &self.index.postings;
            let key = postings.key(place.offset);
            let shape = self.index.space.shape;
            let posting = Posting::decode(read.bytes, key, postings.file().path(), list, shape)?;
            cost.entries += posting.len() as u64;
            score(scorer, &posting, &mut self.distances, &mut self.best);
            waiting = Instant::now();
            cost.scan_us += (waiting - scanning).as_secs_f64() * 1e6;
        }
    }

    fn hits(&mut self) -> Result<Vec<Hit>> {
        let found = self.best.take();
        let mut hits = Vec::with_capacity(found.len());
        for Candidate { distance, row } in found {
            let id = match &self.index.ids {
                Some(ids) => read_id(ids, row, &mut self.page)?,
                None => u64::from(row.0),
            };
            hits.push(Hit { id, row, distance });
        }
        Ok(hits)
    }
}

/// Scores all entries of a list.
fn score(scorer: &Scorer, posting: &Posting<'_>, distances: &mut Vec<f32>, best: &mut TopK) {
    distances.resize(posting.len(), 0.0);
    scorer.distances(posting.vectors(), distances);
    let mut limit = best.limit();
    for (row, &distance) in posting.rows().zip(distances.iter()) {
        if distance <= limit {
            best.push(Candidate { distance, row: RowId(row) });
            limit = best.limit();
        }
    }
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
