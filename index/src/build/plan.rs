//! What a build will cost, before it starts.

#[cfg(test)]
mod tests;

use super::{BuildOptions, calibrate, partition};
use crate::directory::PLACE_BYTES;
use crate::error::{IndexError, Result};
use crate::panels::Panels;
use crate::posting::{Codec, ListLayout};
use crate::router::Router;
use crate::rows::RowLayout;
use crate::space::dim_of;
use crate::tree::Tree;
use crate::vector::{DIM_MAX, Shape, VectorSource};

/// Rows of the data that stand in for queries when none are given.
pub(crate) const CALIBRATION_ROWS: u64 = 1_000;
const CALIBRATION_ROWS_MIN: u64 = 64;
/// Queries there must be memory for.
const QUERIES_MIN: u64 = 8;
/// Bytes set aside for the program itself, its stacks and what the allocator keeps.
pub(crate) const PROGRAM_BYTES: u64 = 64 << 20;
/// Partitions at most: each is an open file.
const PARTITIONS_MAX: u64 = 512;
/// Sample rows wanted for each node.
const SAMPLE_PER_NODE: u64 = 256;
/// Bytes of a list of codes, if nothing else is asked for: two pages. Shorter lists cost more reads than they save
/// bytes (`docs/decisions/0008-copies-and-list-bytes.md`).
const LIST_BYTES: usize = 8192;
/// Entries such a list shall have room for at least, whatever its bytes.
const LIST_ENTRIES_MIN: usize = 64;
/// What a list has room for, in multiples of its primaries on average: without copies, and with them.
const ROOM: [f64; 2] = [1.4, 2.0];
/// The least of that, where the disk forbids more.
const ROOM_MIN: f64 = 1.2;
/// An index that keeps its rows takes at most so many times the raw vectors' bytes.
const DISK_SHARE: f64 = 1.6;
/// Copies at most.
const REPLICAS_MAX: usize = 8;
/// Raw lists: vectors a list, and entries a list holds at most for each copy (`docs/decisions/0004`).
const RAW_LIST_VECTORS: usize = 8;
const RAW_REPLICAS: usize = 4;
const RAW_ROOM: [f64; REPLICAS_MAX] = [2.0, 3.8, 5.0, 6.0, 6.6, 7.0, 7.3, 7.5];

/// Nodes of the router at most, in square roots of the number of lists, and the lists a node shall have before there are
/// more nodes than the root.
const NODES: f64 = 2.0;
const NODE_LISTS: f64 = 64.0;

/// The sizes a build works with, and what it will need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What lists hold.
    pub codec: Codec,
    /// Copies of a vector at most.
    pub replicas: usize,
    /// Vectors.
    pub rows: u64,
    /// Dimensions of the routing space.
    pub routing_dim: usize,
    /// Posting lists aimed at.
    pub lists: u64,
    /// Nodes of the router.
    pub nodes: u64,
    /// Entries a list holds at most: primaries, for which it is split, then copies, as many as there is room for.
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

/// Plans a build of `source`. Without a codec in the options the one is assumed that suits most data of this shape.
///
/// # Errors
/// When the input or an option is out of range, or the memory allowed cannot do.
pub fn plan(source: &dyn VectorSource, options: &BuildOptions<'_>) -> Result<Plan> {
    let dim = source.dim();
    plan_with(source, options, options.codec.unwrap_or(Codec::Rabitq { bits: likely_bits(dim) }))
}

/// Bits a dimension that most data of so many dimensions is given.
fn likely_bits(dim: usize) -> u8 {
    match dim {
        0..=160 => 6,
        161..=320 => 4,
        321..=640 => 3,
        _ => 2,
    }
}

/// Plans a build with this codec.
pub(crate) fn plan_with(source: &dyn VectorSource, options: &BuildOptions<'_>, codec: Codec) -> Result<Plan> {
    let shape = check(source, options)?;
    let rows = source.count();
    let layout = ListLayout { codec, shape, dim: dim_of(options.metric, shape), by_slot: false };
    let (replicas, list_vectors, list_cap) = list_sizes(layout, options);
    let lists = rows.div_ceil(list_vectors as u64);
    let nodes = nodes_of(lists);
    let mut plan =
        Plan { codec, replicas, rows, routing_dim: layout.dim, lists, nodes, list_cap, ..Plan::default() };
    plan.share_memory(layout, options)?;
    plan.predict(layout, options);
    Ok(plan)
}

/// Nodes of a router over so many lists.
pub(crate) fn nodes_of(lists: u64) -> u64 {
    let root = (lists as f64).sqrt();
    (lists as f64 / NODE_LISTS).clamp(root, NODES * root).ceil() as u64
}

/// Vectors that a list of a fresh index has on average, and entries at most, with so many copies of a vector.
pub(crate) fn fresh_sizes(layout: ListLayout, replicas: usize) -> (usize, usize) {
    let options = BuildOptions { replicas: Some(replicas), ..BuildOptions::default() };
    let (_, vectors, cap) = list_sizes(layout, &options);
    (vectors, cap)
}

/// Copies at most, vectors a list on average, entries a list at most.
fn list_sizes(layout: ListLayout, options: &BuildOptions<'_>) -> (usize, usize, usize) {
    if layout.codec == Codec::Raw {
        let replicas = options.replicas.unwrap_or(RAW_REPLICAS);
        let vectors = options.list_vectors.unwrap_or(RAW_LIST_VECTORS);
        let cap = (RAW_ROOM[replicas - 1] * vectors as f64).ceil() as usize;
        return (replicas, vectors, cap.min(layout.entries_max()));
    }
    let replicas = options.replicas.unwrap_or(2);
    let room = ROOM[usize::from(replicas > 1)];
    let entries = match options.list_vectors {
        Some(vectors) => (vectors as f64 * room).ceil() as usize,
        None => layout.entries_within(LIST_BYTES).max(LIST_ENTRIES_MIN),
    };
    let entries = entries.min(layout.entries_max());
    let bytes = layout.extent_bytes(entries, 0);
    let cap = layout.entries_within(bytes).min(layout.entries_max());
    let fewest = (cap as f64 / room).ceil() as usize;
    // Fewer copies where lists full of them would take too much of the disk.
    let most = ((cap as f64 / ROOM_MIN) as usize).max(fewest);
    let affordable = match list_bytes_a_vector(layout, options.rerank) {
        Some(share) if share > 0.0 => (bytes as f64 / share).ceil() as usize,
        Some(_) => most,
        None => fewest,
    };
    let vectors = options.list_vectors.unwrap_or(affordable.clamp(fewest, most));
    (replicas, vectors.max(1), cap)
}

/// Bytes of lists that an index may have for each vector, lest it takes too much of the disk; `None` if nobody minds,
/// because it keeps no rows.
fn list_bytes_a_vector(layout: ListLayout, rerank: bool) -> Option<f64> {
    let rows = RowLayout::new(layout.shape);
    let row = rows.bytes as f64 / rows.rows as f64;
    // Two hundredths for centroids and directory.
    rerank.then(|| (DISK_SHARE - 0.02) * layout.shape.row_bytes() as f64 - row)
}

/// Whether an index with such lists takes no more of the disk than it should.
pub(crate) fn is_affordable(layout: ListLayout) -> bool {
    let needed = layout.entry_bytes() as f64 * ROOM_MIN;
    list_bytes_a_vector(layout, true).is_none_or(|share| needed <= share)
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
    if !options.metric.has_lists() {
        let expected =
            "l2, ip or cosine: lists are made by Euclidean distances; a collection compares by any metric";
        return Err(IndexError::option("--metric", options.metric, expected));
    }
    if let Some(replicas) = options.replicas.filter(|n| !(1..=REPLICAS_MAX).contains(n)) {
        return Err(IndexError::option("--replicas", replicas, format!("1 to {REPLICAS_MAX}")));
    }
    if let Some(vectors) = options.list_vectors.filter(|n| !(1..=1 << 16).contains(n)) {
        return Err(IndexError::option("--list-vectors", vectors, "1 to 65536"));
    }
    if let Some(Codec::Rabitq { bits }) = options.codec
        && !(1..=8).contains(&bits)
    {
        return Err(IndexError::option("--codec", format!("rabitq:{bits}"), "rabitq:1 to rabitq:8"));
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
    fn share_memory(&mut self, layout: ListLayout, options: &BuildOptions<'_>) -> Result<()> {
        let (shape, budget) = (layout.shape, options.memory_bytes);
        let row = self.routing_dim as u64 * 4;
        // Held while copies are assigned: the tree, its centroids once more, and the router. Splits add to the lists.
        let (dim, lists, nodes) = (self.routing_dim, self.lists as usize, self.nodes as usize);
        let centroids = Panels::bytes(dim, lists);
        let router = Router::bytes(dim, lists, nodes);
        let held = (Tree::bytes(dim, lists, nodes) + centroids + router) as u64;
        let floor = held + held / 4 + (4 << 20) + 64 * (row + shape.row_bytes() as u64 * 4);
        check_budget(floor, budget)?;
        let free = budget - held;
        self.block_rows = (free / 8 / (row + shape.row_bytes() as u64 + 256)).clamp(64, 32_768) as usize;
        self.sample_rows = (budget / 3 / (row + 8)).min(self.nodes * SAMPLE_PER_NODE).clamp(1, self.rows);
        // A window is held as read, and once more as encoded extents.
        self.window_bytes = (free / 4).max(1 << 20);
        let payload = shape.row_bytes() + COPY_BYTES;
        let entries = self.rows * (self.replicas as u64).saturating_sub(1).max(1) * entry_bytes(payload);
        self.partitions = entries.div_ceil(self.window_bytes).clamp(1, self.lists.min(PARTITIONS_MAX));
        let needs = calibrate::needs(self, layout, options);
        let router = (router + router / 4) as u64;
        self.query_rows =
            self.queries_within(budget.saturating_sub(router), &needs, options.calibration_rows);
        // A file of fewer queries takes no more than those.
        let given = options.calibration_queries.map_or(u64::MAX, VectorSource::count);
        let queries = self.query_rows.min(given);
        let calibrate = needs.iter().map(|need| need.fixed + queries * need.query).max().unwrap_or(0);
        self.memory_bytes = self.peak_bytes(held, row, shape).max(router + calibrate);
        check_budget(self.memory_bytes, budget)
    }

    /// The queries to calibrate with that so many bytes suffice for, or the fewest there must be.
    fn queries_within(&self, bytes: u64, needs: &[calibrate::Need], wanted: u64) -> u64 {
        let fit = needs.iter().map(|need| bytes.saturating_sub(need.fixed) / need.query).min();
        // Of few rows a tenth, so that calibration stays a small part of the work.
        let most = (self.rows / 10).max(CALIBRATION_ROWS_MIN).min(self.rows);
        fit.unwrap_or(0).clamp(QUERIES_MIN, wanted.max(QUERIES_MIN)).min(most)
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

    fn predict(&mut self, layout: ListLayout, options: &BuildOptions<'_>) {
        let shape = layout.shape;
        // Lists are filled with copies as far as they go; without, their last pages are half empty.
        let room = self.list_cap as f64 / (self.rows as f64 / self.lists as f64);
        let copies = room.min(self.replicas as f64).min(self.lists as f64) * 0.9;
        let list = (self.rows as f64 * copies.max(1.0) / self.lists as f64).ceil() as usize;
        let postings = self.lists * layout.extent_bytes(list.max(1), 0) as u64;
        let rows = RowLayout::new(shape).file_bytes(self.rows);
        let centroids = (Router::bytes(self.routing_dim, self.lists as usize, self.nodes as usize)
            + self.lists as usize * (PLACE_BYTES + 4)) as u64;
        let ids = if options.ids.is_some() { self.rows * 9 } else { 0 };
        let kept = options.rerank && !options.rows_outside && self.codec != Codec::Raw;
        self.disk_bytes = postings + if kept { rows } else { 0 } + centroids + ids + (1 << 20);
        let input = self.rows * shape.row_bytes() as u64;
        let sorted = self.rows * entry_bytes(shape.row_bytes());
        let entries =
            (self.rows as f64 * (copies - 1.0).max(0.0)) as u64 * entry_bytes(shape.row_bytes() + COPY_BYTES);
        let log = self.lists * (self.routing_dim as u64 * 4 + 40);
        self.temp_bytes = (2 * sorted).max(entries + if kept { 0 } else { rows }) + log;
        // Partitions are read twice: to count, then to sort.
        self.read_bytes = 3 * input + 4 * sorted + 2 * (entries + rows) + postings;
        self.written_bytes = 2 * sorted + entries + rows + self.disk_bytes;
        // Centroids compared with each row, two operations a dimension, at 20 to 80 G operations a second a core;
        // bytes at 0.2 to 2 GB a second.
        let compared = 3.0 * self.nodes as f64 + self.lists as f64 / self.nodes as f64 * 60.0;
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

/// Bytes a copy has in a partition besides key, row and vector: slot and ratio.
pub(crate) const COPY_BYTES: usize = 8;

/// Bytes of one entry in a partition: key, row, payload.
pub(crate) fn entry_bytes(payload: usize) -> u64 {
    8 + payload as u64
}
