//! The router: which posting lists are nearest to a query.
//!
//! A tree of two levels. The lists lie in order of the tree, so that a node is a range of lists. A query looks at
//! all nodes, then at all lists of the nearest nodes; how many nodes is its *breadth*.
//!
//! Nodes are `f32`. The centroids of a node's lists are codes of one byte a dimension around the node's, laid out as
//! posting lists are: their signs are scanned 32 at a time, and what might be near is looked at with all bits. What the
//! code stands for *is* the centroid: vectors are coded against it, and its distance is exact.

use std::ops::Range;

use crate::kernel::Kernel;
use crate::panels::Panels;
use crate::quantize::{self, BLOCK, Bounds, CodeShape, CodedList, CodedQuery, Scale, SignEstimates};
use crate::rank::{rank, ranked};
use crate::tree::Tree;

/// Bits a dimension of the centroids.
pub(crate) const CENTROID_BITS: usize = 8;
/// Lists looked at with all bits, for so many wanted: a factor and a surplus.
pub(crate) const SURVIVORS: (usize, usize) = (2, 32);

/// A list or node with its squared distance. Ordered by distance, ties by number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub(crate) distance: f32,
    pub(crate) at: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        rank(self.distance, self.at).cmp(&rank(other.distance, other.at))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// A list or node of its rank.
fn near(rank: u64) -> Near {
    let (distance, at) = ranked(rank);
    Near { distance, at }
}

/// Centroids of lists and nodes, in RAM.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) nodes: Panels,
    /// The first list of each node, and the number of lists at the end.
    pub(crate) starts: Vec<u32>,
    pub(crate) codes: CentroidCodes,
}

/// The centroids of all lists, node by node.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct CentroidCodes {
    pub(crate) signs: Vec<u8>,
    pub(crate) records: Vec<u8>,
    /// One a node.
    pub(crate) bounds: Vec<Bounds>,
    /// The first block of signs of each node, and the number of blocks at the end.
    blocks: Vec<usize>,
}

impl CentroidCodes {
    /// Codes of the lists of nodes that start as `starts` says.
    pub(crate) fn new(signs: Vec<u8>, records: Vec<u8>, bounds: Vec<Bounds>, starts: &[u32]) -> Self {
        Self { signs, records, bounds, blocks: block_starts(starts) }
    }

    /// Encodes the centroids that `centroid` gives by list; `nodes` are those of the nodes.
    pub(crate) fn encode(nodes: &Panels, starts: &[u32], mut centroid: impl FnMut(u32, &mut [f32])) -> Self {
        let shape = CodeShape { dim: nodes.dim(), bits: CENTROID_BITS };
        let blocks = block_starts(starts);
        let (lists, last) = (starts.last().map_or(0, |&lists| lists as usize), blocks[blocks.len() - 1]);
        let mut codes = Self {
            signs: Vec::with_capacity(last * shape.block_bytes()),
            records: Vec::with_capacity(lists * shape.record_bytes()),
            bounds: Vec::with_capacity(blocks.len() - 1),
            blocks,
        };
        let mut node = vec![0.0; shape.dim];
        for (number, range) in starts.windows(2).enumerate() {
            nodes.row(number, &mut node);
            let lists: Vec<u32> = (range[0]..range[1]).collect();
            let mut rows = vec![0.0; lists.len() * shape.dim];
            for (&list, row) in lists.iter().zip(rows.chunks_exact_mut(shape.dim)) {
                centroid(list, row);
            }
            let encoded = quantize::encode(shape, Scale::LeastSquares, &node, &rows, &lists);
            codes.signs.extend(encoded.signs);
            codes.records.extend(encoded.records);
            codes.bounds.push(encoded.bounds);
        }
        codes
    }
}

/// Blocks of signs before each node.
fn block_starts(starts: &[u32]) -> Vec<usize> {
    let mut blocks = Vec::with_capacity(starts.len());
    blocks.push(0);
    let mut sum = 0;
    for range in starts.windows(2) {
        sum += ((range[1] - range[0]) as usize).div_ceil(BLOCK);
        blocks.push(sum);
    }
    blocks
}

/// What a query needs again and again.
#[derive(Debug, Default)]
pub(crate) struct RouteScratch {
    distances: Vec<f32>,
    nodes: Vec<Near>,
    ranks: Vec<u64>,
    lists: Vec<Near>,
    query: CodedQuery,
    signs: SignEstimates,
    points: [Vec<f32>; 2],
}

impl Router {
    /// The router over a tree: its nodes, and codes of its lists.
    pub(crate) fn of(tree: Tree) -> Self {
        let Tree { nodes, lists, starts } = tree;
        let codes = CentroidCodes::encode(&nodes, &starts, |list, out| lists.row(list as usize, out));
        Self { nodes, starts, codes }
    }

    /// Bytes in RAM of a router over so many lists.
    pub(crate) fn bytes(dim: usize, lists: usize, nodes: usize) -> usize {
        let shape = CodeShape { dim, bits: CENTROID_BITS };
        // Every node's last block of signs is half empty on average, and may be nearly empty.
        let blocks = lists.div_ceil(BLOCK) + nodes;
        let node = size_of::<u32>() + size_of::<Bounds>() + size_of::<usize>();
        Panels::bytes(dim, nodes)
            + blocks * shape.block_bytes()
            + lists * shape.record_bytes()
            + (nodes + 1) * node
    }

    /// Bytes of memory that it has.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        let CentroidCodes { signs, records, bounds, blocks } = &self.codes;
        let tables = self.starts.capacity() * size_of::<u32>()
            + bounds.capacity() * size_of::<Bounds>()
            + blocks.capacity() * size_of::<usize>();
        self.nodes.memory_bytes() + signs.capacity() + records.capacity() + tables
    }

    fn dim(&self) -> usize {
        self.nodes.dim()
    }

    /// Number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.starts.last().map_or(0, |&lists| lists as usize)
    }

    /// The lists of a node.
    pub(crate) fn lists_of(&self, node: u32) -> Range<usize> {
        self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize
    }

    /// The codes of a node's lists.
    pub(crate) fn coded(&self, node: u32) -> CodedList<'_> {
        let shape = CodeShape { dim: self.dim(), bits: CENTROID_BITS };
        let (at, lists) = (node as usize, self.lists_of(node));
        let (block, record) = (shape.block_bytes(), shape.record_bytes());
        CodedList {
            shape,
            signs: &self.codes.signs[self.codes.blocks[at] * block..self.codes.blocks[at + 1] * block],
            records: &self.codes.records[lists.start * record..lists.end * record],
            bounds: self.codes.bounds[at],
            slots: None,
        }
    }

    /// The centroid of a list; `node` is scratch memory of as many values.
    pub(crate) fn centroid(&self, list: u32, node: &mut [f32], out: &mut [f32]) {
        let number = self.node_of(list);
        self.nodes.row(number, node);
        let entry = list - self.starts[number];
        self.coded(number as u32).decode(entry as usize, node, out);
    }

    /// The squared distances between the centroid of `from` and those of other lists, into `out`.
    pub(crate) fn between(&self, from: u32, lists: &[Near], scratch: &mut RouteScratch, out: &mut Vec<f32>) {
        let RouteScratch { distances, query, points: [node, point], .. } = scratch;
        for values in [&mut *node, &mut *point] {
            values.resize(self.dim(), 0.0);
        }
        self.centroid(from, node, point);
        self.nodes.distances(point, 0..self.nodes.rows(), distances);
        query.set(CodeShape { dim: self.dim(), bits: CENTROID_BITS }, point);
        out.clear();
        out.extend(lists.iter().map(|list| {
            let number = self.node_of(list.at);
            let entry = list.at - self.starts[number];
            query.full(&self.coded(number as u32), entry as usize, distances[number])
        }));
    }

    /// The node of a list.
    pub(crate) fn node_of(&self, list: u32) -> usize {
        self.starts.partition_point(|&start| start <= list) - 1
    }

    /// The `n` nearest lists among those of the `breadth` nearest nodes, nearest first.
    ///
    /// More nodes are looked at when those have fewer than `n` lists.
    pub(crate) fn route<'a>(
        &self,
        query: &[f32],
        breadth: usize,
        n: usize,
        scratch: &'a mut RouteScratch,
    ) -> &'a [Near] {
        scratch.query.set(CodeShape { dim: self.dim(), bits: CENTROID_BITS }, query);
        let room = n.saturating_mul(SURVIVORS.0).saturating_add(SURVIVORS.1).min(self.lists());
        let mut wanted = self.rank_nodes(query, breadth, scratch);
        let (mut seen, mut lists_seen) = (0, 0);
        let mut found = Nearest::new(std::mem::take(&mut scratch.ranks), room);
        while seen < wanted || (lists_seen < n && seen < scratch.nodes.len()) {
            if seen == wanted {
                scratch.nodes.sort_unstable();
                wanted = scratch.nodes.len();
            }
            let node = scratch.nodes[seen];
            self.scan_signs(node, &scratch.query, &mut scratch.signs, &mut found);
            lists_seen += self.lists_of(node.at).len();
            seen += 1;
        }
        scratch.ranks = found.into_ranks();
        scratch.lists.clear();
        scratch.lists.extend(scratch.ranks.iter().map(|&rank| near(rank)));
        self.refine(scratch);
        smallest_first(&mut scratch.lists, n)
    }

    /// Ranks the nodes, the `breadth` nearest first; says how many those are.
    fn rank_nodes(&self, query: &[f32], breadth: usize, scratch: &mut RouteScratch) -> usize {
        let RouteScratch { distances, nodes, .. } = scratch;
        self.nodes.distances(query, 0..self.nodes.rows(), distances);
        nodes.clear();
        nodes.extend(distances.iter().zip(0..).map(|(&distance, at)| Near { distance, at }));
        smallest_first(nodes, breadth).len()
    }

    /// Estimates the distances of a node's lists by their signs.
    fn scan_signs(&self, node: Near, query: &CodedQuery, signs: &mut SignEstimates, found: &mut Nearest) {
        let coded = self.coded(node.at);
        let lists = self.lists_of(node.at);
        for (block, first) in lists.clone().step_by(BLOCK).enumerate() {
            query.sign_block(&coded, block, node.distance, signs);
            let count = BLOCK.min(lists.end - first);
            found.extend(&signs.estimate[..count], first as u32);
        }
    }

    /// Replaces estimates by distances. Those of the nodes are still what [`Router::rank_nodes`] found.
    fn refine(&self, scratch: &mut RouteScratch) {
        // Lists of a node are refined together.
        scratch.lists.sort_unstable_by_key(|list| list.at);
        let mut node = 0;
        for list in &mut scratch.lists {
            while self.starts[node + 1] <= list.at {
                node += 1;
            }
            let entry = (list.at - self.starts[node]) as usize;
            let distance = scratch.distances[node];
            let distance = scratch.query.full(&self.coded(node as u32), entry, distance);
            // Roots are taken of it: what rounding has brought below 0 is 0. It is a number in any case.
            list.distance = distance.max(0.0);
        }
    }
}

/// The nearest of all candidates seen, kept by cutting a longer vector now and then.
#[derive(Debug)]
pub(crate) struct Nearest {
    /// As numbers in their order, which are cut twice as fast.
    ranks: Vec<u64>,
    room: usize,
    limit: f32,
}

impl Nearest {
    /// Keeps `room` candidates, in memory that was used before.
    pub(crate) fn new(mut ranks: Vec<u64>, room: usize) -> Self {
        ranks.clear();
        Self { ranks, room: room.max(1), limit: f32::INFINITY }
    }

    /// Offers consecutive candidates from `first` on.
    pub(crate) fn extend(&mut self, distances: &[f32], first: u32) {
        let (blocks, rest) = distances.as_chunks();
        for (block, first) in blocks.iter().zip((first..).step_by(BLOCK)) {
            let mut left = Kernel::best().up_to(block, self.limit);
            while left != 0 {
                let at = left.trailing_zeros();
                left &= left - 1;
                self.offer(block[at as usize], first + at);
            }
        }
        let first = first + (distances.len() - rest.len()) as u32;
        rest.iter().zip(first..).for_each(|(&distance, at)| self.offer(distance, at));
    }

    fn offer(&mut self, distance: f32, at: u32) {
        // What is no number is kept: nothing may be lost to an overflow.
        if distance > self.limit {
            return;
        }
        self.ranks.push(rank(distance, at));
        if self.ranks.len() == 2 * self.room {
            self.cut();
            self.limit = ranked(self.ranks[self.room - 1]).0;
        }
    }

    fn cut(&mut self) {
        if self.ranks.len() > self.room {
            self.ranks.select_nth_unstable(self.room - 1);
            self.ranks.truncate(self.room);
        }
    }

    /// The nearest, in order.
    pub(crate) fn finish(self) -> Vec<Near> {
        let mut ranks = self.into_ranks();
        ranks.sort_unstable();
        ranks.into_iter().map(near).collect()
    }

    /// The nearest by rank, in any order.
    fn into_ranks(mut self) -> Vec<u64> {
        self.cut();
        self.ranks
    }
}

/// Brings the `n` smallest to the front, in order, and returns them.
pub(crate) fn smallest_first(items: &mut [Near], n: usize) -> &[Near] {
    let n = n.min(items.len());
    if n == 0 {
        return &[];
    }
    if n < items.len() {
        items.select_nth_unstable(n - 1);
    }
    let items = &mut items[..n];
    items.sort_unstable();
    items
}
