//! What a build will cost, before it starts.

use super::{BuildOptions, partition};
use crate::error::{IndexError, Result};
use crate::panels::Panels;
use crate::posting::{self, Codec};
use crate::router::Router;
use crate::space::dim_of;
use crate::vector::{DIM_MAX, Shape, VectorSource};

/// Rows of the data that stand in for queries when none are given.
const CALIBRATION_ROWS: u64 = 1_000;
/// Bytes set aside for the program itself, its stacks and what the allocator keeps.
pub(crate) const PROGRAM_BYTES: u64 = 64 << 20;
/// Entries a list may hold, in multiples of the mean it is planned for.
const CAP_FACTOR: usize = 2;
/// Partitions at most: each is an open file.
const PARTITIONS_MAX: u64 = 512;
/// Sample rows wanted for each node.
const SAMPLE_PER_NODE: u64 = 256;
/// Copies of a vector that the relative-neighbourhood rule leaves on average, for each limit; measured on
/// `deep`-like data, for predictions of disk space only.
const COPIES: [f64; 8] = [1.0, 1.9, 2.5, 3.0, 3.3, 3.5, 3.65, 3.75];

/// The sizes a build works with, and what it will need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Vectors.
    pub rows: u64,
    /// Dimensions of the routing space.
    pub routing_dim: usize,
    /// Posting lists aimed at.
    pub lists: u64,
    /// Nodes of the router.
    pub nodes: u64,
    /// Entries a list holds at most; longer ones are split.
    pub list_cap: usize,
    /// Rows of the training sample.
    pub sample_rows: u64,
    /// Queries to calibrate with.
    pub query_rows: u64,
    /// Partitions the entries are sorted by.
    pub partitions: u64,
    /// Rows read at a time.
    pub block_rows: usize,
    /// Bytes of entries that are sorted at a time.
    pub window_bytes: u64,
    /// Predicted peak of memory, in bytes, without the program itself.
    pub memory_bytes: u64,
    /// Predicted peak of temporary files, in bytes, beside those of the index.
    pub temp_bytes: u64,
    /// Predicted size of the index, in bytes.
    pub disk_bytes: u64,
    /// Predicted bytes read.
    pub read_bytes: u64,
    /// Predicted bytes written.
    pub written_bytes: u64,
    /// Predicted seconds: from, to.
    pub seconds: (f64, f64),
}

/// Plans a build of `source`.
///
/// # Errors
/// When the input or an option is out of range, or the memory allowed cannot do.
pub fn plan(source: &dyn VectorSource, options: &BuildOptions<'_>) -> Result<Plan> {
    let shape = check(source, options)?;
    let rows = source.count();
    let routing_dim = dim_of(options.metric, shape);
    let lists = rows.div_ceil(options.list_vectors as u64);
    let nodes = (lists as f64).sqrt().ceil() as u64;
    let copies = COPIES[options.replicas - 1];
    let list_cap = (CAP_FACTOR as f64 * copies * options.list_vectors as f64).ceil() as usize;
    let list_cap = list_cap.min(posting::entries_max(options.codec, shape));
    let mut plan = Plan { rows, routing_dim, lists, nodes, list_cap, ..Plan::default() };
    plan.share_memory(shape, options)?;
    plan.predict(shape, options, copies);
    Ok(plan)
}

/// Checks what can be checked without reading vectors.
fn check(source: &dyn VectorSource, options: &BuildOptions<'_>) -> Result<Shape> {
    let (dim, rows) = (source.dim(), source.count());
    if dim == 0 || dim > DIM_MAX {
        return Err(IndexError::input(source.name(), format!("{dim} dimensions"), format!("1 to {DIM_MAX}")));
    }
    if rows == 0 || rows > u64::from(u32::MAX) {
        return Err(IndexError::input(
            source.name(),
            format!("{rows} vectors"),
            format!("1 to {}", u32::MAX),
        ));
    }
    if options.replicas == 0 || options.replicas > COPIES.len() {
        return Err(IndexError::option("--replicas", options.replicas, format!("1 to {}", COPIES.len())));
    }
    if options.list_vectors == 0 || options.list_vectors > 1 << 16 {
        return Err(IndexError::option("--list-vectors", options.list_vectors, "1 to 65536"));
    }
    if let Some(ids) = options.ids
        && ids.count() != rows
    {
        return Err(IndexError::input(
            ids.name(),
            format!("{} ids", ids.count()),
            format!("{rows}, one for each vector of {}", source.name()),
        ));
    }
    let shape = Shape { element: source.element(), dim };
    if let Some(queries) = options.calibration_queries {
        let found = Shape { element: queries.element(), dim: queries.dim() };
        if found != shape {
            return Err(IndexError::input(
                queries.name(),
                format!("{} x {}", found.element, found.dim),
                format!("{} x {dim}, as in {}", shape.element, source.name()),
            ));
        }
        if queries.count() == 0 {
            return Err(IndexError::input(queries.name(), "no vectors", "at least one query"));
        }
    }
    Ok(shape)
}

impl Plan {
    /// Divides the budget among what each stage holds.
    fn share_memory(&mut self, shape: Shape, options: &BuildOptions<'_>) -> Result<()> {
        let budget = options.memory_bytes;
        let row = self.routing_dim as u64 * 4;
        // Held while vectors are assigned: the router, and its centroids once more. Splits add to the lists.
        let router = Router::bytes(self.routing_dim, self.lists as usize, self.nodes as usize) as u64;
        let centroids = Panels::bytes(self.routing_dim, self.lists as usize) as u64;
        let held = router + centroids;
        let floor = held + held / 4 + (4 << 20) + 64 * (row + shape.row_bytes() as u64 * 4);
        check_budget(floor, budget)?;
        let free = budget - held;
        self.block_rows = (free / 8 / (row + shape.row_bytes() as u64 + 256)).clamp(64, 32_768) as usize;
        self.sample_rows = (budget / 3 / (row + 8)).min(self.nodes * SAMPLE_PER_NODE).clamp(1, self.rows);
        // Calibration holds the queries three times: as read, embedded and in panels.
        let query_row = shape.row_bytes() as u64 + 2 * row + 4096;
        self.query_rows = (budget / 16 / query_row).clamp(1, CALIBRATION_ROWS).min(self.rows);
        // A window is held as read, and once more as encoded extents.
        self.window_bytes = (free / 4).max(1 << 20);
        let entries = (self.rows * options.replicas as u64) * entry_bytes(shape);
        self.partitions = entries.div_ceil(self.window_bytes).clamp(1, self.lists.min(PARTITIONS_MAX));
        self.memory_bytes = self.peak_bytes(held, row, shape);
        check_budget(self.memory_bytes, budget)
    }

    fn peak_bytes(&self, held: u64, row: u64, shape: Shape) -> u64 {
        let blocks = self.block_rows as u64 * (row + shape.row_bytes() as u64 + 256);
        let buffers = self.partitions * partition::buffer_bytes(self) as u64;
        let sample = self.sample_rows * (row + 8);
        let train = 2 * self.window_bytes + self.lists * row;
        let assign = held + 2 * blocks + buffers;
        let encode = held / 2 + 2 * self.window_bytes;
        sample.max(train).max(assign).max(encode)
    }

    fn predict(&mut self, shape: Shape, options: &BuildOptions<'_>, copies: f64) {
        let stored = self.rows as f64 * copies.min(self.lists as f64);
        let list = stored / self.lists as f64;
        let extent = posting::extent_bytes(Codec::Raw, shape, list.ceil() as usize) as f64;
        let centroids = self.lists as f64 * (self.routing_dim * 4 + 16) as f64;
        let ids = if options.ids.is_some() { self.rows * 9 } else { 0 };
        self.disk_bytes = (self.lists as f64 * extent + centroids) as u64 + ids + (1 << 20);
        let input = self.rows * shape.row_bytes() as u64;
        let sorted = self.rows * entry_bytes(shape);
        let entries = (stored * entry_bytes(shape) as f64) as u64;
        self.temp_bytes = sorted.max(entries + centroids as u64 * 2);
        // Partitions are read twice: to count, then to sort.
        self.read_bytes = 4 * input + 2 * (sorted + entries) + self.disk_bytes;
        self.written_bytes = sorted + entries + self.disk_bytes + centroids as u64 * 2;
        // Centroids compared with each row, two operations a dimension, at 20 to 80 G operations a second a core;
        // bytes at 0.2 to 2 GB a second.
        let compared = 2.0 * self.nodes as f64 + self.lists as f64 / self.nodes as f64 * 40.0;
        let work = self.rows as f64 * compared * self.routing_dim as f64 * 2.0;
        let scan = self.rows as f64 * self.query_rows as f64 * shape.dim as f64 * 4.0;
        let cpu = (work + scan) / options.worker_threads() as f64;
        let bytes = (self.read_bytes + self.written_bytes) as f64;
        let at = |operations: f64, rate: f64| cpu / operations + bytes / rate;
        self.seconds = (at(8e10, 2e9), at(1e10, 2e8) + 5.0);
    }
}

fn check_budget(needed: u64, allowed: u64) -> Result<()> {
    let (what, fix) = ("centroids and buffers of the build", "raise --memory or --list-vectors");
    // A little more than what falls short, because some shares grow with the whole.
    let enough = needed + PROGRAM_BYTES / 16;
    if needed > allowed { Err(IndexError::Budget { what, needed: enough, allowed, fix }) } else { Ok(()) }
}

/// Bytes of one entry in a partition: list, row, vector.
pub(crate) fn entry_bytes(shape: Shape) -> u64 {
    8 + shape.row_bytes() as u64
}
