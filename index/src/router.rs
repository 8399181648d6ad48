//! The router: which posting lists are nearest to a query.
//!
//! A tree of two levels. The lists lie in order of the tree, so that a node is a range of lists. A query looks at
//! all nodes, then at all lists of the nearest nodes; how many nodes is its *breadth*.

use std::ops::Range;

use crate::panels::Panels;

/// A list or node with its squared distance. Ordered by distance, ties by number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub(crate) distance: f32,
    pub(crate) at: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.at.cmp(&other.at))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Centroids of lists and nodes, in RAM.
#[derive(Debug, Default)]
pub(crate) struct Router {
    nodes: Panels,
    lists: Panels,
    /// The first list of each node, and the number of lists at the end.
    starts: Vec<u32>,
}

/// What a query needs again and again.
#[derive(Debug, Default)]
pub(crate) struct RouteScratch {
    distances: Vec<f32>,
    nodes: Vec<Near>,
    lists: Vec<Near>,
}

impl Router {
    /// A router over lists whose centroids lie node by node; `starts` as in the struct.
    pub(crate) fn new(lists: Panels, starts: Vec<u32>) -> Self {
        let dim = lists.dim();
        let mut nodes = Panels::with_capacity(dim, starts.len().saturating_sub(1));
        let mut row = vec![0.0; dim];
        for range in starts.windows(2) {
            let mut sums = vec![0.0f64; dim];
            for list in range[0]..range[1] {
                lists.row(list as usize, &mut row);
                sums.iter_mut().zip(&row).for_each(|(sum, &x)| *sum += f64::from(x));
            }
            let count = f64::from((range[1] - range[0]).max(1));
            let mean: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
            nodes.push(&mean);
        }
        Self { nodes, lists, starts }
    }

    /// Bytes in RAM of a router over so many lists.
    pub(crate) fn bytes(dim: usize, lists: usize, nodes: usize) -> usize {
        Panels::bytes(dim, lists) + Panels::bytes(dim, nodes) + (nodes + 1) * size_of::<u32>()
    }

    pub(crate) fn lists(&self) -> &Panels {
        &self.lists
    }

    pub(crate) fn nodes(&self) -> &Panels {
        &self.nodes
    }

    /// The lists of a node.
    pub(crate) fn lists_of(&self, node: u32) -> Range<usize> {
        self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize
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
        let RouteScratch { distances, nodes, lists } = scratch;
        self.nodes.distances(query, 0..self.nodes.rows(), distances);
        rank(nodes, distances, 0);
        let mut seen = 0;
        let mut wanted = smallest_first(nodes, breadth).len();
        lists.clear();
        while seen < wanted || (lists.len() < n && seen < nodes.len()) {
            if seen == wanted {
                nodes.sort_unstable();
                wanted = nodes.len();
            }
            let range = self.lists_of(nodes[seen].at);
            self.lists.distances(query, range.clone(), distances);
            extend(lists, distances, range.start);
            seen += 1;
        }
        smallest_first(lists, n)
    }
}

fn rank(out: &mut Vec<Near>, distances: &[f32], first: usize) {
    out.clear();
    extend(out, distances, first);
}

fn extend(out: &mut Vec<Near>, distances: &[f32], first: usize) {
    out.extend(distances.iter().zip(first as u32..).map(|(&distance, at)| Near { distance, at }));
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

/// How much farther a list is than the nearest one, as a ratio of distances (not squared ones).
///
/// A query that is a centroid itself gives no measure: then every list counts as near, lest a list of one vector
/// hide all others.
pub(crate) fn ratio_of(distance: f32, nearest: f32) -> f32 {
    if distance <= nearest || nearest == 0.0 { 1.0 } else { (distance / nearest).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_on_a_centroid_leaves_no_list_out() {
        assert_eq!(ratio_of(4.0, 1.0), 2.0);
        assert_eq!(ratio_of(1.0, 1.0), 1.0);
        assert_eq!(ratio_of(0.0, 0.0), 1.0);
        assert_eq!(ratio_of(9.0, 0.0), 1.0);
    }
}
