//! Vectors of any number, the same on every machine.

mod hash;
mod like;
mod manifold;
mod math;
mod model;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use like::LikeGenerator;
pub use manifold::Generator;

use crate::format::{check_count, check_dim};
use crate::{DatasetError, ElementType, Result, VectorWriter};

/// Bytes made between two writes to a file.
const STEP_BYTES: usize = 8 << 20;

/// Families of generated vectors; see [`Generator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Unit-length descriptors of a neural network, like DEEP.
    Deep,
    /// Non-negative histograms of norm about 512, like SIFT.
    Sift,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 2] = [Self::Deep, Self::Sift];

    /// `deep` or `sift`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deep => "deep",
            Self::Sift => "sift",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self> {
        let kind = Self::ALL.into_iter().find(|kind| kind.name() == name);
        kind.ok_or_else(|| DatasetError::argument("kind of vectors", name, "deep or sift"))
    }
}

/// Rows made on demand: any range, in any order, in parallel, always the same.
pub trait RowSource: Send + Sync {
    /// Type of the elements.
    fn element(&self) -> ElementType;

    /// Elements per row.
    fn dim(&self) -> usize;

    /// Makes as many whole rows as fit into `out` (little-endian elements), starting with row `first`, on the
    /// current rayon pool.
    fn fill(&self, first: u64, out: &mut [u8]);

    /// Bytes of one row.
    fn row_bytes(&self) -> usize {
        self.dim() * self.element().bytes()
    }
}

/// A range of generated rows, read in order like a file.
pub struct Generated {
    source: Arc<dyn RowSource>,
    next: u64,
    end: u64,
}

/// Rows 0 to `count` of the base of [`Generator::new`].
///
/// # Errors
/// A dimension outside 1 to 65,535, or `count` = 0.
pub fn generate(kind: Kind, count: u64, dim: usize, element: ElementType, seed: u64) -> Result<Generated> {
    Generated::new(Arc::new(Generator::new(kind, dim, element, seed)?), 0, count)
}

/// Queries for the base of the same arguments: from the same distribution, but a stream of their own, so never
/// rows of the base.
///
/// # Errors
/// As [`generate`].
pub fn generate_queries(
    kind: Kind,
    count: u64,
    dim: usize,
    element: ElementType,
    seed: u64,
) -> Result<Generated> {
    Generated::new(Arc::new(Generator::new(kind, dim, element, seed)?.queries()), 0, count)
}

impl Generated {
    /// `count` rows (at least 1) of a source, from row `first` on.
    pub fn new(source: Arc<dyn RowSource>, first: u64, count: u64) -> Result<Self> {
        let name = Path::new("generated vectors");
        check_dim(name, source.dim() as u64)?;
        check_count(name, count)?;
        let end = first
            .checked_add(count)
            .ok_or_else(|| DatasetError::argument("rows to generate", count, "fewer than 2^64 in all"))?;
        Ok(Self { source, next: first, end })
    }

    /// Type of the elements.
    pub fn element(&self) -> ElementType {
        self.source.element()
    }

    /// Elements per row.
    pub fn dim(&self) -> usize {
        self.source.dim()
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.source.row_bytes()
    }

    /// Rows not read yet.
    pub fn left(&self) -> u64 {
        self.end - self.next
    }

    /// Makes as many of the next rows as fit into `out`, in parallel, and returns their number; 0 at the end.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let rows = (out.len() / self.row_bytes()).min(usize::try_from(self.left()).unwrap_or(usize::MAX));
        self.source.fill(self.next, &mut out[..rows * self.row_bytes()]);
        self.next += rows as u64;
        rows
    }

    /// Writes all rows that are left to a file, whose extension must suit the elements. Memory is a few MiB.
    ///
    /// # Errors
    /// As [`VectorWriter`].
    pub fn write_to(mut self, path: &Path) -> Result<()> {
        let mut writer = VectorWriter::create(path, self.element(), self.dim())?;
        let row = self.row_bytes();
        let mut block = vec![0; (STEP_BYTES / row).max(1) * row];
        loop {
            match self.read(&mut block) {
                0 => return writer.finish(),
                rows => writer.write_rows(&block[..rows * row])?,
            }
        }
    }
}
