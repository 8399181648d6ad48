//! Stage `assign`: finds the lists of every vector and writes an entry for each to its partition.

use std::time::{Duration, Instant};

use nearline_storage::ExtentFile;
use rayon::prelude::*;

use super::Stage;
use super::cluster::{TREE, TREE_FILE};
use super::partition::{Keys, Set, Writers};
use super::run::Build;
use super::sample::for_each_block;
use crate::assign::Assigner;
use crate::centroids::Centroids;
use crate::error::Result;
use crate::space::Space;

/// Time between two checkpoints.
const CHECKPOINT: Duration = Duration::from_secs(5);
/// Nodes of the router looked into for a vector: this many, and a share of all.
const BREADTH_MIN: usize = 12;
const BREADTH_SHARE: usize = 32;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    let (space, tree) = load_tree(build)?;
    let lists = build.state.trained_lists;
    let mut state = build.state.clone();
    build.progress.stage(Stage::Assign, state.rows_assigned, build.plan.rows);
    let mut writers = Writers::open(
        build.disk.as_ref(),
        &build.plan,
        Set { by: Keys::Lists, keys: lists },
        &state.partitions,
    )?;
    let dim = space.dim();
    let mut centroids = vec![0.0; lists as usize * dim];
    for (list, row) in centroids.chunks_exact_mut(dim).enumerate() {
        tree.lists.row(list, row);
    }
    let breadth = BREADTH_MIN + tree.starts.len() / BREADTH_SHARE;
    let router = tree.into_router();
    let assigner = Assigner::new(&router, &centroids, build.options.replicas, breadth);
    let row_bytes = build.shape.row_bytes();
    let mut saved = Instant::now();
    let mut points = Vec::new();
    for_each_block(build, build.source, state.rows_assigned, |first, rows| {
        embed_rows(&space, rows, &mut points);
        let chosen = assigner.assign(&points);
        for ((row, vector), lists) in (first..).zip(rows.chunks_exact(row_bytes)).zip(&chosen) {
            for &list in lists {
                writers.push(list, row as u32, vector)?;
            }
        }
        state.rows_assigned = first + chosen.len() as u64;
        build.progress.advance(chosen.len() as u64);
        if saved.elapsed() >= CHECKPOINT {
            state.partitions = writers.sync()?;
            build.disk.sync_dir()?;
            state.save(build.disk.as_ref())?;
            saved = Instant::now();
        }
        Ok(())
    })?;
    state.partitions = writers.sync()?;
    build.state = state;
    Ok(())
}

/// The tree and the routing space it lives in.
pub(crate) fn load_tree(build: &Build<'_>) -> Result<(Space, Centroids)> {
    let mut space = Space::new(build.options.metric, build.shape, build.state.norm_max);
    let file = ExtentFile::open(build.disk.as_ref(), TREE, TREE_FILE)?;
    let (nodes, lists) = (build.state.trained_nodes as usize, build.state.trained_lists as usize);
    let mut tree = Centroids::read(&file, space.dim(), nodes, lists)?;
    space.mean = std::mem::take(&mut tree.mean);
    Ok((space, tree))
}

/// Embeds rows into the routing space, on all threads.
pub(crate) fn embed_rows(space: &Space, rows: &[u8], points: &mut Vec<f32>) {
    const BLOCK: usize = 256;
    let (dim, row_bytes) = (space.dim(), space.shape.row_bytes());
    points.clear();
    points.resize(rows.len() / row_bytes * dim, 0.0);
    points.par_chunks_mut(BLOCK * dim).zip(rows.par_chunks(BLOCK * row_bytes)).for_each(|(points, rows)| {
        for (point, row) in points.chunks_exact_mut(dim).zip(rows.chunks_exact(row_bytes)) {
            space.embed(row, point);
        }
    });
}
