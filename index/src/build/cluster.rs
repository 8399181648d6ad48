//! Stage `cluster`: makes the tree of centroids.
//!
//! The nodes are trained on the sample. Then all vectors are sorted by node, and the lists of each node are trained
//! on all of its vectors, however many there are and however little memory.

use nearline_storage::{BlobReader, BlobWriter, ExtentFile, ExtentFileWriter, FileHeader, PAGE, ReadRange};
use rayon::prelude::*;

use super::Stage;
use super::assign::embed_rows;
use super::partition::{Keys, Reader, Set, Sorted, Writers, Written};
use super::run::Build;
use super::sample::{ROWS_FILE, ROWS_KIND, SAMPLE, calibration_rows, for_each_block};
use crate::cluster::{kmeans, mean_of, nearest};
use crate::error::Result;
use crate::panels::Panels;
use crate::random::Random;
use crate::space::Space;
use crate::tree;

/// The trained tree.
pub(crate) const TREE: &str = "build.tree";
pub(crate) const TREE_FILE: [u8; 4] = *b"TREE";

/// Iterations of the clustering into nodes, and of each node into lists.
const NODE_ITERATIONS: usize = 10;
const LIST_ITERATIONS: usize = 8;
/// Nodes that are clustered at the same time.
const NODES_TOGETHER: usize = 8;
const LANE_NODES: u64 = 3;
const LANE_LISTS: u64 = 4;
const LANE_TRAIN: u64 = 7;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    build.progress.stage(Stage::Cluster, 0, 2 * build.plan.rows);
    let (space, nodes) = train_nodes(build)?;
    let set = Set { by: Keys::Nodes, keys: nodes.rows() as u32 };
    let written = sort_by_node(build, &space, &nodes, set)?;
    build.note_temp_bytes()?;
    let mut starts = vec![0u32];
    let mut centroids = Vec::with_capacity(build.plan.lists as usize * space.dim());
    for (partition, &known) in written.iter().enumerate() {
        let reader =
            Reader::open(build.disk.as_ref(), &build.plan, build.shape.row_bytes(), set, partition, known)?;
        for window in reader.windows()? {
            for lists in train_lists(build, &space, &reader.load(&window)?)? {
                centroids.extend_from_slice(&lists);
                starts.push((centroids.len() / space.dim()) as u32);
            }
        }
    }
    starts.dedup();
    write_tree(build, &space, &starts, &centroids)?;
    build.state.by_nodes = written;
    build.state.trained_nodes = starts.len() as u32 - 1;
    build.state.trained_lists = starts[starts.len() - 1];
    Ok(())
}

/// Clusters the sample into the nodes of the tree.
fn train_nodes(build: &Build<'_>) -> Result<(Space, Panels)> {
    let (space, sample) = embedded_sample(build)?;
    let random = Random::new(build.options.seed, LANE_NODES);
    let nodes = kmeans(&sample, space.dim(), build.plan.nodes as usize, NODE_ITERATIONS, random);
    let panels = Panels::from_rows(space.dim(), &nodes.centroids);
    Ok((space, panels))
}

/// Writes every vector to the partition of its nearest node; returns what the partitions hold.
fn sort_by_node(build: &Build<'_>, space: &Space, nodes: &Panels, set: Set) -> Result<Vec<Written>> {
    let row_bytes = build.shape.row_bytes();
    let mut writers = Writers::open(build.disk.as_ref(), &build.plan, set, &[])?;
    let mut points = Vec::new();
    for_each_block(build, build.source, 0, |first, rows| {
        embed_rows(space, rows, &mut points);
        let chosen = nearest(&points, nodes);
        for ((row, vector), &node) in (first..).zip(rows.chunks_exact(row_bytes)).zip(&chosen) {
            writers.push(node, build.source.row(row).0, &[vector])?;
        }
        build.progress.advance(chosen.len() as u64);
        Ok(())
    })?;
    // Assignment reads them again.
    writers.sync()
}

/// Clusters the vectors of each node of a window; a node gets lists in proportion to its vectors.
fn train_lists(build: &Build<'_>, space: &Space, sorted: &Sorted) -> Result<Vec<Vec<f32>>> {
    let per_list = build.plan.rows as f64 / build.plan.lists as f64;
    let mut out = Vec::with_capacity(sorted.ranges.len());
    let nodes: Vec<usize> = (0..sorted.ranges.len()).collect();
    for nodes in nodes.chunks(NODES_TOGETHER) {
        build.check_cancelled()?;
        let trained: Vec<Vec<f32>> = nodes
            .par_iter()
            .map(|&at| {
                let node = u64::from(sorted.first_key) + at as u64;
                let count = sorted.ranges[at].len();
                let lists = (count as f64 / per_list).round() as usize;
                let points = training_points(build, space, sorted, at);
                let random = Random::new(build.options.seed, LANE_LISTS + (node << 8));
                match count {
                    0 => Vec::new(),
                    _ => kmeans(&points, space.dim(), lists, LIST_ITERATIONS, random).centroids,
                }
            })
            .collect();
        out.extend(trained);
        let rows: usize = nodes.iter().map(|&at| sorted.ranges[at].len()).sum();
        build.progress.advance(rows as u64);
    }
    Ok(out)
}

/// The vectors of a node in the routing space: all of them, or as many as the memory allows.
fn training_points(build: &Build<'_>, space: &Space, sorted: &Sorted, at: usize) -> Vec<f32> {
    let (dim, row_bytes) = (space.dim(), build.shape.row_bytes());
    let range = held_in(build, sorted, at);
    let room = build.plan.window_bytes / (NODES_TOGETHER * dim * 4) as u64;
    let random = Random::new(build.options.seed, LANE_TRAIN + (u64::from(sorted.first_key) << 8));
    let chosen = random.strata(room.max(1), range.len() as u64);
    let mut points = vec![0.0; chosen.len() * dim];
    for (point, i) in points.chunks_exact_mut(dim).zip(chosen) {
        space.embed(&sorted.payloads[range[i as usize] * row_bytes..][..row_bytes], point);
    }
    points
}

/// The entries of a node but those that stand in for queries: a centroid must not know its examiner.
fn held_in(build: &Build<'_>, sorted: &Sorted, at: usize) -> Vec<usize> {
    let queries: Vec<u32> = calibration_rows(build).into_iter().map(|row| build.source.row(row).0).collect();
    let row = |entry: &usize| sorted.row(*entry);
    let range = sorted.ranges[at].clone();
    let others: Vec<usize> =
        range.clone().filter(|entry| queries.binary_search(&row(entry)).is_err()).collect();
    if others.is_empty() { range.collect() } else { others }
}

fn write_tree(build: &Build<'_>, space: &Space, starts: &[u32], lists: &[f32]) -> Result<()> {
    build.clear(TREE)?;
    let header = FileHeader { kind: TREE_FILE, file_id: build.file_id(103) };
    let mut writer = ExtentFileWriter::create(build.disk.as_ref(), TREE, header)?;
    tree::write(&mut writer, &space.mean, starts, |blob: &mut BlobWriter<'_>| {
        Ok(blob.write(bytemuck::cast_slice(lists))?)
    })?;
    Ok(writer.sync()?)
}

/// The routing space, with the sample's mean, and the sample in it.
fn embedded_sample(build: &Build<'_>) -> Result<(Space, Vec<f32>)> {
    let mut space = build.space();
    let dim = space.dim();
    let file = ExtentFile::open(build.disk.as_ref(), SAMPLE, ROWS_FILE)?;
    let range = ReadRange { offset: PAGE as u64, bytes: (file.len() - PAGE as u64) as usize };
    let mut blob = BlobReader::new(&file, ROWS_KIND, range)?;
    let rows = build.state.sample_rows as usize;
    let mut row = vec![0; build.shape.row_bytes()];
    let mut sample = vec![0.0; rows * dim];
    for out in sample.chunks_exact_mut(dim) {
        blob.read(&mut row)?;
        space.embed(&row, out);
    }
    blob.finish()?;
    mean_of(sample.chunks_exact(dim), &mut space.mean);
    for point in sample.chunks_exact_mut(dim) {
        point.iter_mut().zip(&space.mean).for_each(|(x, mean)| *x -= mean);
    }
    Ok((space, sample))
}
