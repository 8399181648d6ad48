//! Stage `assign`: finds the nearest list of every vector and writes the vector to that list's partition.

use nearline_storage::ExtentFile;
use rayon::prelude::*;

use super::Stage;
use super::cluster::{TREE, TREE_FILE};
use super::partition::{Keys, Reader, Set, Writers};
use super::plan::entry_bytes;
use super::run::Build;
use crate::assign::nearest;
use crate::error::Result;
use crate::router::Router;
use crate::space::Space;
use crate::tree::Tree;

/// Nodes looked into for a vector or a list: this many, and a share of all.
const BREADTH_MIN: usize = 12;
const BREADTH_SHARE: usize = 64;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    let (space, tree) = load_tree(build)?;
    let mut state = build.state.clone();
    build.progress.stage(Stage::Assign, state.rows_assigned, build.plan.rows);
    let set = Set { by: Keys::Lists, keys: state.trained_lists };
    let mut writers = Writers::open(build.disk.as_ref(), &build.plan, set, &state.partitions)?;
    let router = Router::of(tree);
    for partition in state.nodes_assigned as usize..state.by_nodes.len() {
        assign_partition(build, &space, &router, partition, &mut writers)?;
        state.partitions = writers.sync()?;
        build.disk.sync_dir()?;
        state.nodes_assigned = partition as u32 + 1;
        state.rows_assigned += state.by_nodes[partition].bytes / entry_bytes(build.shape.row_bytes());
        state.save(build.disk.as_ref())?;
        build.disk.remove(&Keys::Nodes.name(partition))?;
    }
    build.state = state;
    Ok(())
}

/// Finds the lists of the vectors of some nodes, which lie close together.
fn assign_partition(
    build: &Build<'_>,
    space: &Space,
    router: &Router,
    partition: usize,
    writers: &mut Writers,
) -> Result<()> {
    let (disk, row_bytes) = (build.disk.as_ref(), build.shape.row_bytes());
    let set = Set { by: Keys::Nodes, keys: build.plan.nodes as u32 };
    let written = build.state.by_nodes[partition];
    let reader = Reader::open(disk, &build.plan, row_bytes, set, partition, written)?;
    let mut points = Vec::new();
    for window in reader.windows()? {
        let sorted = reader.load(&window)?;
        let blocks = sorted.rows.chunks(build.plan.block_rows * 4);
        for (rows, vectors) in blocks.zip(sorted.payloads.chunks(build.plan.block_rows * row_bytes)) {
            build.check_cancelled()?;
            embed_rows(space, vectors, &mut points);
            let chosen = nearest(router, breadth(router.nodes.rows()), &points);
            let entries = rows.as_chunks().0.iter().zip(vectors.chunks_exact(row_bytes));
            for ((row, vector), &list) in entries.zip(&chosen) {
                writers.push(list, u32::from_le_bytes(*row), &[vector])?;
            }
            build.progress.advance(chosen.len() as u64);
        }
    }
    Ok(())
}

/// Nodes that are looked into for a vector or a list, out of so many.
pub(crate) fn breadth(nodes: usize) -> usize {
    BREADTH_MIN + nodes / BREADTH_SHARE
}

/// The trained tree and the routing space it lives in.
pub(crate) fn load_tree(build: &Build<'_>) -> Result<(Space, Tree)> {
    let mut space = build.space();
    let file = ExtentFile::open(build.disk.as_ref(), TREE, TREE_FILE)?;
    let (nodes, lists) = (build.state.trained_nodes as usize, build.state.trained_lists as usize);
    let (mean, tree) = Tree::read(&file, space.dim(), nodes, lists)?;
    space.mean = mean;
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
