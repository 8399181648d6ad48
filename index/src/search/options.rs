//! What is asked of a search, and what it answers.

use crate::calibration::Residency;
use crate::error::{IndexError, Result};
use crate::vector::RowId;

/// Which lists a search reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Probe {
    /// As many as the calibration says reach this mean recall@k. 1 compares all vectors, and so does a recall that nothing
    /// less is known to reach.
    TargetRecall(f32),
    /// The nearest so many.
    Lists(usize),
    /// All vectors: the answer is exact, if the index keeps the vectors.
    All,
}

/// Which candidates are compared with the raw vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rerank {
    /// Those that the calibration says the recall needs. Others are answered with their estimated distance.
    #[default]
    Calibrated,
    /// All that may be in the answer: every distance in it is exact.
    Exact,
    /// None, but for those of which only signs are held: their rows would not be known.
    Never,
}

/// What is asked of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchOptions {
    /// Neighbours wanted, 1 to the number of vectors.
    pub k: usize,
    /// Which lists are read.
    pub probe: Probe,
    /// Which distances are exact.
    pub rerank: Rerank,
    /// Bytes that may be read; beyond them the answer is cut short. What the cache has is not read.
    pub max_bytes_read: Option<u64>,
    /// Microseconds after which no more reads are begun.
    pub max_us: Option<u64>,
}

impl Default for SearchOptions {
    /// The ten nearest, at a recall of 0.95.
    fn default() -> Self {
        Self {
            k: 10,
            probe: Probe::TargetRecall(0.95),
            rerank: Rerank::Calibrated,
            max_bytes_read: None,
            max_us: None,
        }
    }
}

impl SearchOptions {
    /// Refuses what no search of an index with so many vectors can do.
    pub(super) fn check(&self, rows: u64) -> Result<()> {
        if self.k == 0 || self.k as u64 > rows {
            let expected = format!("1 to {rows}, the number of vectors");
            return Err(IndexError::option("k", self.k, expected));
        }
        match self.probe {
            Probe::Lists(0) => Err(IndexError::option("nprobe", 0, "1 or more")),
            Probe::TargetRecall(target) if !(target > 0.0 && target <= 1.0) => {
                Err(IndexError::option("target recall", target, "above 0 and at most 1"))
            }
            _ => Ok(()),
        }
    }
}

/// Which vectors may be answered.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    /// Whether the vector of a row may.
    pub allows: &'a (dyn Fn(RowId) -> bool + Sync),
    /// About which part of all vectors that is, above 0 and at most 1: with fewer, more lists are looked at.
    pub share: f32,
}

impl std::fmt::Debug for Filter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("share", &self.share).finish_non_exhaustive()
    }
}

impl Filter<'_> {
    /// The part of all vectors, as a number that can be divided by.
    pub(super) fn share(&self) -> f32 {
        if self.share > 0.0 { self.share.clamp(1e-6, 1.0) } else { 1e-6 }
    }
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
    /// Whether the distance was computed from the vector itself; otherwise it is estimated from its code.
    pub exact: bool,
}

/// What a search cost. Looking up point ids, if the index has any, is not in it: one page each, mostly cached.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// Lists probed.
    pub lists: u64,
    /// Those of them that were held in RAM.
    pub lists_held: u64,
    /// Lists and pages of rows that would have been read, but that the cache had.
    pub cached: u64,
    /// Reads of the disk.
    pub reads: u64,
    /// Bytes of these reads.
    pub bytes: u64,
    /// Times the kernel was entered while the query was under way, for all queries of its thread.
    pub enters: u64,
    /// Entries scored.
    pub entries: u64,
    /// Entries of which more than the signs were looked at.
    pub refined: u64,
    /// Vectors compared with the query exactly after the lists.
    pub reranked: u64,
    /// Microseconds spent on choosing lists.
    pub route_us: f64,
    /// Microseconds spent on checking and scoring lists.
    pub scan_us: f64,
    /// Microseconds spent on scoring vectors after the lists.
    pub rerank_us: f64,
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
    /// What of the lists was in RAM.
    pub residency: Residency,
    /// Whether a budget cut the search short.
    pub cut: bool,
    /// The recall as estimated when probing stopped, if it was; no promise.
    pub estimated_recall: Option<f32>,
}
