//! Writing an index anew with what was added to it: a few passes over its lists, from front to back.
//!
//! 1. *survey*: lists that became too long are split, those that became too short dissolved;
//! 2. *reassign*: vectors around a split that are nearer to a new centroid than to their own move there. Their codes say
//!    which those may be, the vectors themselves decide (the conditions of LIRE, SPFresh section 4.2);
//! 3. *write*: every list with what was added and what moved to it, without what is dead.
//!
//! Nodes of the router stay as they are, and so do the centroids of lists that stay: their codes stand.

mod old;
mod reassign;
mod survey;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use nearline_storage::Disk;

use self::old::Old;
use super::Live;
use super::entries::Entries;
use crate::build::fresh_sizes;
use crate::error::{IndexError, Result};
use crate::manifest::Manifest;
use crate::panels::Panels;
use crate::posting::Codec;
use crate::quantize::{CodeShape, Encoded};
use crate::router::{CENTROID_BITS, CentroidCodes, Router};
use crate::search::{Index, Inner};
use crate::vector::RowId;

/// A list is split when it has more vectors than so many times the mean of a fresh index, copies left out, and dissolved
/// when it has fewer than this share of it.
const SPLIT: f64 = 4.0 / 3.0;
const DISSOLVE: f64 = 1.0 / 6.0;
/// Vectors fetched together.
const TOGETHER: usize = 4096;

/// How an index is folded.
#[derive(Clone, Copy)]
pub struct FoldOptions<'a> {
    /// Whether the vector of a row is to be left out.
    pub is_dead: &'a (dyn Fn(RowId) -> bool + Sync),
    /// Tells the new files from all others.
    pub identity: u64,
    /// About how many bytes of memory lists that are split may take; what is left is the next fold's.
    pub memory_bytes: u64,
    /// Whether to give up: what was written is of no use then.
    pub is_cancelled: &'a dyn Fn() -> bool,
}

/// What a fold did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoldReport {
    /// Vectors in the new index. Without any there is none.
    pub rows: u64,
    /// Its lists.
    pub lists: u64,
    /// Lists that were split, and dissolved.
    pub split: u64,
    /// Lists that were dissolved.
    pub dissolved: u64,
    /// Vectors that moved to another list than the one they were in, or than the nearer part of it.
    pub moved: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Writes an index to `disk`, which has none: that of `index` with all of `live`.
///
/// # Errors
/// When a file cannot be read or written, or is damaged; [`IndexError::Interrupted`] when it was cancelled.
pub fn fold(
    index: &Index,
    live: &Live,
    disk: &Arc<dyn Disk>,
    options: &FoldOptions<'_>,
) -> Result<FoldReport> {
    let mut fold = Fold::new(&index.inner, live, *options)?;
    let survey = fold.survey()?;
    let router = fold.router(&survey);
    if router.lists() == 0 {
        return Ok(FoldReport::default());
    }
    let arrivals = fold.reassign(&survey, &router)?;
    fold.write(disk, &survey, &router, &arrivals)
}

/// A fold under way.
struct Fold<'a> {
    index: &'a Inner,
    live: &'a Live,
    options: FoldOptions<'a>,
    manifest: Manifest,
    sizes: Sizes,
}

/// What lists are meant to be like.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Vectors of a fresh list, copies left out.
    vectors: usize,
    /// The same of one that need not be split, and of one that is not dissolved.
    most: usize,
    least: usize,
    /// Entries.
    cap: usize,
}

/// What becomes of a list.
#[derive(Debug)]
enum Fate {
    Stays,
    Dissolved,
    Split(Box<Split>),
}

/// The lists that a list was split into.
#[derive(Debug)]
struct Split {
    /// Their centroids, coded as the node's others, and decoded.
    codes: Encoded,
    centroids: Vec<f32>,
    parts: Vec<Part>,
}

/// A list in memory: primaries, then copies.
#[derive(Debug)]
struct Part {
    entries: Entries,
    primaries: usize,
}

/// Vectors that move, or may: their rows, and the vectors themselves where nothing but lists has them.
#[derive(Debug, Default)]
struct Strays {
    rows: Vec<u32>,
    vectors: Vec<u8>,
}

/// What the survey found.
#[derive(Debug, Default)]
struct Survey {
    /// By list.
    fates: Vec<Fate>,
    strays: Strays,
}

/// Vectors that move.
#[derive(Debug, Default)]
struct Arrivals {
    /// By the new list that they move to.
    to: BTreeMap<u32, Strays>,
    /// Rows that are no primaries of their old list any more.
    moved: HashSet<u32>,
    count: u64,
}

impl<'a> Fold<'a> {
    fn new(index: &'a Inner, live: &'a Live, options: FoldOptions<'a>) -> Result<Self> {
        let manifest = Manifest::read(index.disk.as_ref())?;
        let (vectors, cap) = fresh_sizes(index.layout, index.info.replicas);
        let sizes = Sizes {
            vectors,
            most: ((vectors as f64 * SPLIT) as usize).clamp(1, cap),
            least: (vectors as f64 * DISSOLVE) as usize,
            cap,
        };
        Ok(Self { index, live, options, manifest, sizes })
    }

    fn check_cancelled(&self) -> Result<()> {
        if (self.options.is_cancelled)() { Err(IndexError::Interrupted) } else { Ok(()) }
    }

    /// Walks through the old lists, from front to back.
    fn for_each_list(&mut self, mut each: impl FnMut(&mut Self, &Old<'_>) -> Result<()>) -> Result<()> {
        let (index, live) = (self.index, self.live);
        let mut extents = index.postings.extents();
        for number in 0..index.router.lists() as u32 {
            if number.is_multiple_of(256) {
                self.check_cancelled()?;
            }
            let old = Old::read(index, number, &mut extents, live.delta.list(number))?;
            each(self, &old)?;
        }
        Ok(())
    }

    /// Takes a vector among strays.
    fn stray(&self, strays: &mut Strays, row: u32, vector: &[u8]) {
        strays.rows.push(row);
        if self.index.layout.codec == Codec::Raw {
            strays.vectors.extend_from_slice(vector);
        }
    }

    /// Hands over the vectors of strays, with their places among them. Those that are nowhere to be found are passed over.
    fn each_stray(&self, strays: &Strays, mut each: impl FnMut(usize, &[u8])) -> Result<()> {
        if self.index.layout.codec == Codec::Raw {
            let vectors = strays.vectors.chunks_exact(self.index.space.shape.row_bytes());
            vectors.enumerate().for_each(|(at, vector)| each(at, vector));
            return Ok(());
        }
        for (some, rows) in strays.rows.chunks(TOGETHER).enumerate() {
            self.check_cancelled()?;
            self.live.rows.fetch(rows, |at, vector| each(some * TOGETHER + at, vector))?;
        }
        Ok(())
    }

    /// The centroid of an old list.
    fn centroid(&self, list: u32) -> Vec<f32> {
        let (mut node, mut out) = (vec![0.0; self.index.space.dim()], vec![0.0; self.index.space.dim()]);
        self.index.router.centroid(list, &mut node, &mut out);
        out
    }

    /// The router over the new lists. They lie as the old ones did, parts of a list in its place.
    fn router(&self, survey: &Survey) -> Router {
        let old = &self.index.router;
        let (mut signs, mut records, mut bounds, mut starts) = (Vec::new(), Vec::new(), Vec::new(), vec![0]);
        let shape = CodeShape { dim: old.nodes.dim(), bits: CENTROID_BITS };
        let (mut lists, mut nodes) = (0, Panels::with_capacity(old.nodes.dim(), old.nodes.rows()));
        let mut base = vec![0.0; old.nodes.dim()];
        for node in 0..old.nodes.rows() as u32 {
            let (coded, range) = (old.coded(node), old.lists_of(node));
            let mut codes = Encoded::empty();
            for list in range.clone() {
                match &survey.fates[list] {
                    Fate::Dissolved => {}
                    Fate::Stays => codes.take(&coded, list - range.start),
                    Fate::Split(split) => {
                        let parts = split.codes.list(shape);
                        (0..split.parts.len()).for_each(|part| codes.take(&parts, part));
                    }
                }
            }
            if codes.records.is_empty() {
                continue;
            }
            old.nodes.row(node as usize, &mut base);
            nodes.push(&base);
            lists += (codes.records.len() / shape.record_bytes()) as u32;
            starts.push(lists);
            signs.extend(codes.signs);
            records.extend(codes.records);
            bounds.push(codes.bounds);
        }
        let codes = CentroidCodes::new(signs, records, bounds, &starts);
        Router { nodes, starts, codes }
    }
}

impl Survey {
    /// The new numbers of the old lists: that of the first part, and those there would be next.
    fn numbers(&self) -> Vec<u32> {
        let mut next = 0;
        let mut number = |fate: &Fate| {
            let first = next;
            next += match fate {
                Fate::Dissolved => 0,
                Fate::Stays => 1,
                Fate::Split(split) => split.parts.len() as u32,
            };
            first
        };
        self.fates.iter().map(&mut number).collect()
    }
}
