//! Stage `cluster`: makes the tree of centroids from the sample.

use nearline_storage::{BlobReader, BlobWriter, ExtentFile, ExtentFileWriter, FileHeader, PAGE, ReadRange};
use rayon::prelude::*;

use super::Stage;
use super::run::Build;
use super::sample::{ROWS_FILE, ROWS_KIND, SAMPLE};
use crate::centroids;
use crate::cluster::{Members, kmeans, mean_of};
use crate::error::{IndexError, Result};
use crate::random::Random;
use crate::space::Space;

/// The trained tree, in the format of the file of centroids.
pub(crate) const TREE: &str = "build.tree";
pub(crate) const TREE_FILE: [u8; 4] = *b"TREE";

/// Iterations of each clustering.
const ITERATIONS: usize = 10;
const LANE_NODES: u64 = 3;
const LANE_LISTS: u64 = 4;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    let nodes = build.plan.nodes as usize;
    build.progress.stage(Stage::Cluster, 0, nodes as u64 + 1);
    let (mean, sample) = embedded_sample(build)?;
    let dim = mean.len();
    let random = Random::new(build.options.seed, LANE_NODES);
    let top = kmeans(&sample, dim, nodes, ITERATIONS, random);
    build.progress.advance(1);
    let members = Members::new(&top.assignment, top.centroids.len() / dim);
    let lists = split_nodes(build, &sample, dim, &members)?;
    let mut starts = vec![0];
    for node in &lists {
        starts.push(starts[starts.len() - 1] + (node.len() / dim) as u32);
    }
    build.clear(TREE)?;
    let header = FileHeader { kind: TREE_FILE, file_id: build.file_id(103) };
    let mut writer = ExtentFileWriter::create(build.disk.as_ref(), TREE, header)?;
    centroids::write(&mut writer, &mean, &starts, |blob: &mut BlobWriter<'_>| {
        lists.iter().try_for_each(|node| blob.write(bytemuck::cast_slice(node)))?;
        Ok(())
    })?;
    writer.sync()?;
    build.state.trained_nodes = starts.len() as u32 - 1;
    build.state.trained_lists = starts[starts.len() - 1];
    Ok(())
}

/// The sample in the routing space, and the mean that was subtracted.
fn embedded_sample(build: &Build<'_>) -> Result<(Vec<f32>, Vec<f32>)> {
    let mut space = Space::new(build.options.metric, build.shape, build.state.norm_max);
    let dim = space.dim();
    let file = ExtentFile::open(build.disk.as_ref(), SAMPLE, ROWS_FILE)?;
    let range = ReadRange { offset: PAGE as u64, bytes: (file.len() - PAGE as u64) as usize };
    let mut blob = BlobReader::new(&file, ROWS_KIND, range)?;
    let rows = super::sample::sample_len(build);
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
    Ok((space.mean, sample))
}

/// Clusters the points of each node; every node gets lists in proportion to its points.
fn split_nodes(build: &Build<'_>, sample: &[f32], dim: usize, members: &Members) -> Result<Vec<Vec<f32>>> {
    let total = members.points.len() as f64;
    let lists: Result<Vec<Vec<f32>>> = members
        .ranges
        .par_iter()
        .enumerate()
        .map(|(node, range)| {
            build.check_cancelled()?;
            let points: Vec<f32> = members.points[range.clone()]
                .iter()
                .flat_map(|&i| &sample[i as usize * dim..][..dim])
                .copied()
                .collect();
            let share = (range.len() as f64 / total * build.plan.lists as f64).round() as usize;
            let random = Random::new(build.options.seed, LANE_LISTS + ((node as u64) << 8));
            let lists = match range.len() {
                0 => Vec::new(),
                n => kmeans(&points, dim, share.clamp(1, n), ITERATIONS, random).centroids,
            };
            build.progress.advance(1);
            Ok::<_, IndexError>(lists)
        })
        .collect();
    Ok(lists?.into_iter().filter(|lists| !lists.is_empty()).collect())
}
