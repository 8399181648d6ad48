//! The file of centroids: the routing space's mean and the router.
//!
//! Six blobs, in this order: mean (`f32` x routing dimensions), starts (`u32` x nodes + 1: the first list of each node,
//! then the number of lists), nodes (`f32` x routing dimensions x nodes), then the codes of the lists' centroids, node by
//! node: signs, records (in order of the lists), bounds (three `f32` a node).

use nearline_storage::{BlobReader, ExtentFile, ExtentFileWriter, PAGE, StorageError};

use crate::error::Result;
use crate::panels::Panels;
use crate::quantize::{BLOCK, Bounds, CodeShape};
use crate::router::{CENTROID_BITS, CentroidCodes, Router};
use crate::tree::{MEAN, STARTS, check_starts, fill, rest};

const NODES: u16 = 10;
const SIGNS: u16 = 11;
const RECORDS: u16 = 12;
const BOUNDS: u16 = 13;
/// Bytes of a node's bounds.
const BOUNDS_BYTES: usize = 12;

/// Writes the file.
pub(crate) fn write(writer: &mut ExtentFileWriter, mean: &[f32], router: &Router) -> Result<()> {
    let mut nodes = vec![0.0; router.nodes.rows() * router.nodes.dim()];
    for (node, row) in nodes.chunks_exact_mut(router.nodes.dim()).enumerate() {
        router.nodes.row(node, row);
    }
    let bounds = router.codes.bounds.iter();
    let bounds: Vec<f32> =
        bounds.flat_map(|bounds| [bounds.sign_slope, bounds.sign_offset, bounds.full_slope]).collect();
    let blobs: [(u16, &[u8]); 6] = [
        (MEAN, bytemuck::cast_slice(mean)),
        (STARTS, bytemuck::cast_slice(&router.starts)),
        (NODES, bytemuck::cast_slice(&nodes)),
        (SIGNS, &router.codes.signs),
        (RECORDS, &router.codes.records),
        (BOUNDS, bytemuck::cast_slice(&bounds)),
    ];
    for (kind, bytes) in blobs {
        nearline_storage::write_blob(writer, kind, bytes)?;
    }
    Ok(())
}

/// Reads the mean and the router of an index with so many routing dimensions, nodes and lists.
pub(crate) fn read(file: &ExtentFile, dim: usize, nodes: usize, lists: usize) -> Result<(Vec<f32>, Router)> {
    let shape = CodeShape { dim, bits: CENTROID_BITS };
    check_size(file, shape, nodes, lists)?;
    let mut at = PAGE as u64;
    let (mut mean, mut starts) = (vec![0.0f32; dim], vec![0u32; nodes + 1]);
    at = fill(file, MEAN, at, bytemuck::cast_slice_mut(&mut mean))?;
    at = fill(file, STARTS, at, bytemuck::cast_slice_mut(&mut starts))?;
    check_starts(file, &starts, lists)?;
    let mut centres = vec![0.0f32; nodes * dim];
    at = fill(file, NODES, at, bytemuck::cast_slice_mut(&mut centres))?;
    let blocks: usize = starts.windows(2).map(|range| shape.blocks((range[1] - range[0]) as usize)).sum();
    let mut signs = vec![0; blocks * shape.block_bytes()];
    at = fill(file, SIGNS, at, &mut signs)?;
    let mut records = vec![0; lists * shape.record_bytes()];
    at = fill(file, RECORDS, at, &mut records)?;
    let mut bounds = vec![0.0f32; nodes * BOUNDS_BYTES / 4];
    let mut blob = BlobReader::new(file, BOUNDS, rest(file, at))?;
    blob.read(bytemuck::cast_slice_mut(&mut bounds))?;
    blob.finish()?;
    let bounds = bounds.as_chunks().0.iter();
    let bounds = bounds
        .map(|&[sign_slope, sign_offset, full_slope]| Bounds { sign_slope, sign_offset, full_slope })
        .collect();
    let codes = CentroidCodes::new(signs, records, bounds, &starts);
    Ok((mean, Router { nodes: Panels::from_rows(dim, &centres), starts, codes }))
}

/// Refuses counts whose values cannot all be in the file, before any memory is taken for them.
fn check_size(file: &ExtentFile, shape: CodeShape, nodes: usize, lists: usize) -> Result<()> {
    let a_node = (shape.dim * 4 + BOUNDS_BYTES + 4) as u64;
    let a_list = (shape.record_bytes() + shape.block_bytes() / BLOCK) as u64;
    let wanted = (nodes as u64).saturating_mul(a_node).saturating_add((lists as u64).saturating_mul(a_list));
    if wanted > file.len() {
        return Err(StorageError::unexpected_end(file.file().path(), PAGE as u64, wanted, file.len()).into());
    }
    Ok(())
}
