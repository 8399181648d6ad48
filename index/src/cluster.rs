//! Balanced k-means: Lloyd's iterations with a price on crowded centroids.

use std::ops::Range;

use rayon::prelude::*;

use crate::panels::Panels;
use crate::random::Random;

/// Points that one task assigns at a time.
const BLOCK: usize = 128;
/// Blocks that are not shared out among threads.
const FEW_BLOCKS: usize = 8;
/// What a centroid twice as crowded as the mean pays, in mean squared distances.
const BALANCE: f32 = 0.1;

/// A clustering of points: `assignment[i]` is the centroid of point `i`.
#[derive(Debug)]
pub(crate) struct Clustering {
    /// Row-major, `dim` values a centroid.
    pub(crate) centroids: Vec<f32>,
    pub(crate) assignment: Vec<u32>,
}

/// Clusters `points` (row-major, `dim` values each) around at most `k` centroids.
///
/// In each iteration a point goes to the centroid with the least `d² + λ·count`, count being the centroid's share
/// of points in the iterations before (SPANN, section 4.2.1, after Liu et al. 2018). The result depends on the
/// points, `k`, `iterations` and `random` alone, not on the number of threads.
pub(crate) fn kmeans(points: &[f32], dim: usize, k: usize, iterations: usize, random: Random) -> Clustering {
    let n = points.len() / dim;
    let k = k.clamp(1, n.max(1));
    let mut centroids: Vec<f32> = Vec::with_capacity(k * dim);
    for i in random.strata(k as u64, n as u64) {
        centroids.extend_from_slice(&points[i as usize * dim..][..dim]);
    }
    let mut crowding = vec![1.0; k];
    let mut price = 0.0;
    let mut assignment = Vec::new();
    for iteration in 0..iterations.max(1) {
        let penalties: Vec<f32> = crowding.iter().map(|share| price * share).collect();
        let (assigned, cost) = assign(points, dim, &centroids, &penalties);
        assignment = assigned;
        price = BALANCE * (cost / n.max(1) as f64) as f32;
        let members = Members::new(&assignment, k);
        for (share, range) in crowding.iter_mut().zip(&members.ranges) {
            *share = 0.5 * *share + 0.5 * (range.len() * k) as f32 / n as f32;
        }
        centroids = members.means(points, dim, &centroids);
        members.reseed(&mut centroids, points, dim, random, iteration as u64);
    }
    Clustering { centroids, assignment }
}

/// Whether sharing so many points out among threads would take longer than the work itself.
fn is_small(points: usize) -> bool {
    points <= FEW_BLOCKS * BLOCK
}

/// The cheapest centroid of every point, and the sum of the squared distances to it.
fn assign(points: &[f32], dim: usize, centroids: &[f32], penalties: &[f32]) -> (Vec<u32>, f64) {
    let panels = Panels::from_rows(dim, centroids);
    let blocks: Vec<(Vec<u32>, f64)> = if is_small(points.len() / dim) {
        let mut distances = Vec::new();
        let assign = |block| assign_block(block, &panels, penalties, &mut distances);
        points.chunks(BLOCK * dim).map(assign).collect()
    } else {
        points
            .par_chunks(BLOCK * dim)
            .map_init(Vec::new, |distances, block| assign_block(block, &panels, penalties, distances))
            .collect()
    };
    // Added in order of the blocks, whichever thread made them.
    let cost = blocks.iter().map(|(_, cost)| cost).sum();
    (blocks.into_iter().flat_map(|(assigned, _)| assigned).collect(), cost)
}

fn assign_block(
    block: &[f32],
    panels: &Panels,
    penalties: &[f32],
    distances: &mut Vec<f32>,
) -> (Vec<u32>, f64) {
    let queries: Vec<&[f32]> = block.chunks_exact(panels.dim()).collect();
    panels.distances_many(&queries, 0..panels.rows(), distances);
    let mut cost = 0.0;
    let assigned = distances
        .chunks_exact(panels.rows())
        .map(|distances| {
            let best = cheapest(distances, penalties);
            cost += f64::from(distances[best]);
            best as u32
        })
        .collect();
    (assigned, cost)
}

/// The nearest row of `panels` for every point.
pub(crate) fn nearest(points: &[f32], panels: &Panels) -> Vec<u32> {
    let free = vec![0.0; panels.rows()];
    points
        .par_chunks(BLOCK * panels.dim())
        .map_init(Vec::new, |distances, block| assign_block(block, panels, &free, distances).0)
        .flatten_iter()
        .collect()
}

fn cheapest(distances: &[f32], penalties: &[f32]) -> usize {
    let mut best = (f32::INFINITY, 0);
    for (i, (distance, penalty)) in distances.iter().zip(penalties).enumerate() {
        let cost = distance + penalty;
        if cost < best.0 {
            best = (cost, i);
        }
    }
    best.1
}

/// The points of each centroid, in order.
#[derive(Debug)]
pub(crate) struct Members {
    /// Point numbers, sorted by centroid, then by number.
    pub(crate) points: Vec<u32>,
    /// Each centroid's part of `points`.
    pub(crate) ranges: Vec<Range<usize>>,
}

impl Members {
    /// Counting sort of `0..assignment.len()` by what they are assigned to (`0..k`).
    pub(crate) fn new(assignment: &[u32], k: usize) -> Self {
        let mut ends = vec![0; k];
        assignment.iter().for_each(|&c| ends[c as usize] += 1);
        let mut start = 0;
        let ranges: Vec<Range<usize>> = ends
            .iter()
            .map(|&len| {
                start += len;
                start - len..start
            })
            .collect();
        let mut next: Vec<usize> = ranges.iter().map(|range| range.start).collect();
        let mut points = vec![0; assignment.len()];
        for (point, &c) in assignment.iter().enumerate() {
            points[next[c as usize]] = point as u32;
            next[c as usize] += 1;
        }
        Self { points, ranges }
    }

    /// The mean of each centroid's points; a centroid without points stays.
    fn means(&self, points: &[f32], dim: usize, old: &[f32]) -> Vec<f32> {
        let mut means = old.to_vec();
        let mean = |(mean, range): (&mut [f32], &Range<usize>)| {
            let members = self.points[range.clone()].iter();
            mean_of(members.map(|&i| &points[i as usize * dim..][..dim]), mean);
        };
        if is_small(points.len() / dim) {
            means.chunks_mut(dim).zip(&self.ranges).for_each(mean);
        } else {
            means.par_chunks_mut(dim).zip(&self.ranges).for_each(mean);
        }
        means
    }

    /// Moves each centroid without points onto a point of the most crowded one.
    fn reseed(&self, centroids: &mut [f32], points: &[f32], dim: usize, random: Random, iteration: u64) {
        let Some(crowded) = self.ranges.iter().max_by_key(|range| range.len()) else { return };
        for (c, _) in self.ranges.iter().enumerate().filter(|(_, range)| range.is_empty()) {
            let pick = random.below((iteration << 32) | c as u64, crowded.len() as u64) as usize;
            let point = self.points[crowded.start + pick] as usize;
            centroids[c * dim..][..dim].copy_from_slice(&points[point * dim..][..dim]);
        }
    }
}

/// The mean of some rows, added in `f64` in the order given; without rows `mean` stays.
pub(crate) fn mean_of<'a>(rows: impl Iterator<Item = &'a [f32]>, mean: &mut [f32]) {
    let mut sums = vec![0.0f64; mean.len()];
    let mut count = 0u64;
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        count += 1;
    }
    if count > 0 {
        mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum / count as f64) as f32);
    }
}
