//! The exact neighbours of the calibration queries.

use rayon::prelude::*;

use super::{NEIGHBOURS, Queries};
use crate::build::assign::embed_rows;
use crate::build::run::Build;
use crate::build::sample::for_each_block;
use crate::error::Result;
use crate::panels::Panels;
use crate::space::Space;
use crate::topk::{Candidate, TopK};
use crate::vector::{RowId, VectorSource};

/// Rows compared at a time.
const BLOCK: usize = 64;
/// Bytes of a query and a row that is near it.
pub(super) const PAIR_BYTES: usize = size_of::<(u32, Candidate)>();
/// Rows that may be near all queries, however little memory there is.
pub(super) const STEP_MIN: usize = 2 * NEIGHBOURS;

/// The nearest rows of each query by distance in the routing space, nearest first.
///
/// That order is the metric's own but for rounding, which does not matter for an average over queries.
pub(super) fn exact(build: &Build<'_>, space: &Space, queries: &Queries) -> Result<Vec<Vec<Candidate>>> {
    let panels = Panels::from_rows(queries.dim, &queries.points);
    let mut best: Vec<TopK> = (0..queries.len()).map(|_| TopK::default()).collect();
    best.iter_mut().for_each(|best| best.reset(NEIGHBOURS, 1));
    let step_max = step_max(build.plan.window_bytes, queries.len());
    let mut points = Vec::new();
    for_each_block(build, build.source, 0, |first, rows| {
        embed_rows(space, rows, &mut points);
        let (mut rest, mut first) = (points.as_slice(), first);
        while !rest.is_empty() {
            // At most about as many rows as were seen before: few of them are nearer than the limits then.
            let step = (first as usize).clamp(STEP_MIN, step_max).min(rest.len() / queries.dim);
            let (now, later) = rest.split_at(step * queries.dim);
            compare(build.source, &panels, now, first, queries.rows.as_deref(), &mut best);
            (rest, first) = (later, first + step as u64);
        }
        build.progress.advance((points.len() / queries.dim) as u64);
        Ok(())
    })?;
    Ok(best.iter_mut().map(TopK::take).collect())
}

/// Rows compared between two looks at the limits: so few that even if all of them were nearer than the limits of all
/// queries, they would fit the memory. The answers do not depend on it.
fn step_max(window_bytes: u64, queries: usize) -> usize {
    let pair = PAIR_BYTES as u64;
    (window_bytes / (pair * queries.max(1) as u64)).clamp(STEP_MIN as u64, 1 << 14) as usize
}

/// Offers the rows from `first` on to all queries.
fn compare(
    source: &dyn VectorSource,
    panels: &Panels,
    points: &[f32],
    first: u64,
    own: Option<&[u32]>,
    best: &mut [TopK],
) {
    let limits: Vec<f32> = best.iter().map(TopK::limit).collect();
    let found: Vec<Vec<(u32, Candidate)>> = points
        .par_chunks(BLOCK * panels.dim())
        .enumerate()
        .map_init(Vec::new, |distances, (block, points)| {
            near(panels, points, first + (block * BLOCK) as u64, &limits, distances)
        })
        .collect();
    for (query, mut candidate) in found.into_iter().flatten() {
        candidate.row = source.row(candidate.row.0.into());
        if own.is_none_or(|rows| rows[query as usize] != candidate.row.0) {
            best[query as usize].push(candidate);
        }
    }
}

/// The pairs of query and row that are nearer than the query's limit.
fn near(
    queries: &Panels,
    points: &[f32],
    first: u64,
    limits: &[f32],
    distances: &mut Vec<f32>,
) -> Vec<(u32, Candidate)> {
    let rows: Vec<&[f32]> = points.chunks_exact(queries.dim()).collect();
    queries.distances_many(&rows, 0..queries.rows(), distances);
    let mut found = Vec::new();
    for (row, distances) in (first..).zip(distances.chunks_exact(queries.rows())) {
        for (query, (&distance, limit)) in distances.iter().zip(limits).enumerate() {
            if distance <= *limit {
                found.push((query as u32, Candidate { distance, row: RowId(row as u32) }));
            }
        }
    }
    found
}
