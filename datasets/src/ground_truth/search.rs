//! Brute force over blocks of rows.

use std::path::Path;

use rayon::prelude::*;

use super::best::Best;
use super::panel::{Block, Panel, Rows, any_reaches, reaches};
use super::{GroundTruth, bound, exact};
use crate::dots::{LANES, TILE, products};
use crate::load::RawVectors;
use crate::{DatasetError, ElementType, Metric, Result, check_finite};

/// Bytes of a packed block.
const BLOCK_BYTES: usize = 8 << 20;
/// Most tiles that one task takes through a block: their queries stay in the cache.
const TASK_TILES: usize = 8;

/// A search in progress.
pub(crate) struct Search {
    metric: Metric,
    element: ElementType,
    dim: usize,
    k: usize,
    queries: usize,
    tiles: Vec<Tile>,
    block: Block,
}

/// [`TILE`] queries, component by component; the last tile of all may have fewer.
struct Tile {
    columns: Vec<[f32; TILE]>,
    norms: Vec<f64>,
    best: Vec<Best>,
}

impl Search {
    /// Prepares the queries; refuses none at all, NaN, infinity and, under cosine, zero vectors.
    pub(crate) fn new(queries: &RawVectors, metric: Metric, k: usize) -> Result<Self> {
        let path = Path::new("queries");
        if queries.count == 0 || queries.bytes.len() != queries.count * queries.row_bytes() {
            let expected = format!("{} rows (at least 1) of {} bytes", queries.count, queries.row_bytes());
            return Err(DatasetError::argument("bytes of the queries", queries.bytes.len(), expected));
        }
        check_finite(queries.element, &queries.bytes, queries.dim, 0, path)?;
        let values = queries.to_f32();
        let tiles: Vec<Tile> =
            values.chunks(TILE * queries.dim).map(|q| Tile::new(q, queries.dim, k)).collect();
        let zero = tiles.iter().flat_map(|tile| &tile.norms).position(|&norm| norm == 0.0);
        if let (Some(row), Metric::Cosine) = (zero, metric) {
            return Err(DatasetError::ZeroVector { file: path.to_owned(), row: row as u64 });
        }
        let (element, dim) = (queries.element, queries.dim);
        Ok(Self { metric, element, dim, k, queries: queries.count, tiles, block: Block::default() })
    }

    /// Rows of a block of convenient size.
    pub(crate) fn block_rows(&self) -> usize {
        (BLOCK_BYTES / (self.dim * size_of::<f32>())).next_multiple_of(LANES).clamp(LANES, 1 << 16)
    }

    /// Takes in the next rows (finite, in order), the first being row `first` of `path`. Runs on the
    /// current thread pool.
    pub(crate) fn add(&mut self, bytes: &[u8], first: u64, path: &Path) -> Result<()> {
        let (element, dim, metric) = (self.element, self.dim, self.metric);
        self.block.pack(&Rows { bytes, element, dim, metric, first, path })?;
        let block = &self.block;
        let tiles = self.tiles.len().div_ceil(rayon::current_num_threads()).clamp(1, TASK_TILES);
        self.tiles.par_chunks_mut(tiles).for_each(|tiles| {
            let mut row = first as u32; // at most 2^32 rows
            for panel in block.panels() {
                for tile in tiles.iter_mut() {
                    tile.add(metric, panel, row);
                }
                row = row.wrapping_add(LANES as u32); // wraps behind the very last panel only
            }
        });
        Ok(())
    }

    /// The answer; every query has k rows if there were k.
    pub(crate) fn finish(self) -> GroundTruth {
        let (queries, k, metric) = (self.queries, self.k, self.metric);
        let (mut ids, mut distances) = (Vec::new(), Vec::new());
        for best in self.tiles.into_iter().flat_map(|tile| tile.best) {
            for (key, row) in best.into_sorted() {
                ids.push(row);
                distances.push(exact::value(metric, key));
            }
        }
        GroundTruth { queries, k, ids, distances }
    }
}

impl Tile {
    fn new(values: &[f32], dim: usize, k: usize) -> Self {
        let mut columns = vec![[0.0; TILE]; dim];
        let queries = values.chunks_exact(dim);
        for (lane, query) in queries.clone().enumerate() {
            for (column, &value) in columns.iter_mut().zip(query) {
                column[lane] = value;
            }
        }
        let norms: Vec<f64> = queries.map(|q| exact::norm2(q.iter().copied()).sqrt()).collect();
        let best = norms.iter().map(|_| Best::new(k)).collect();
        Self { columns, norms, best }
    }

    fn add(&mut self, metric: Metric, panel: Panel<'_>, first: u32) {
        let products = products(panel.columns, &self.columns);
        let dim = self.columns.len();
        for (lane, best) in self.best.iter_mut().enumerate() {
            let extremes = &panel.about.extremes;
            let threshold = bound::threshold(metric, dim, self.norms[lane], best.limit(), extremes);
            if !any_reaches(&products[lane], panel.about, threshold) {
                continue;
            }
            for row in 0..panel.about.rows {
                if reaches(&products[lane], panel.about, row, threshold) {
                    let pairs = self.columns.iter().zip(panel.columns).map(|(q, x)| (q[lane], x[row]));
                    let norms = (self.norms[lane], panel.about.norms[row]);
                    best.offer(exact::key(metric, pairs, norms), first + row as u32);
                }
            }
        }
    }
}
