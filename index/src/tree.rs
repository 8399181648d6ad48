//! The tree of centroids while an index is built: exact, where the router of the finished index has codes.
//!
//! Its file is three blobs, in this order: mean (`f32` x routing dimensions), starts (`u32` x nodes + 1: the first list
//! of each node, then the number of lists), centroids (`f32` x routing dimensions x lists, in order of the lists).

use std::ops::Range;

use nearline_storage::{BlobReader, BlobWriter, ExtentFile, ExtentFileWriter, PAGE, ReadRange, StorageError};

use crate::error::Result;
use crate::panels::Panels;

pub(crate) const MEAN: u16 = 3;
pub(crate) const STARTS: u16 = 4;
const CENTROIDS: u16 = 5;

/// Writes mean and starts, then each centroid that `next` gives.
pub(crate) fn write(
    writer: &mut ExtentFileWriter,
    mean: &[f32],
    starts: &[u32],
    centroids: impl FnOnce(&mut BlobWriter<'_>) -> Result<()>,
) -> Result<()> {
    for (kind, bytes) in
        [(MEAN, bytemuck::cast_slice::<f32, u8>(mean)), (STARTS, bytemuck::cast_slice::<u32, u8>(starts))]
    {
        nearline_storage::write_blob(writer, kind, bytes)?;
    }
    let mut blob = BlobWriter::new(writer, CENTROIDS);
    centroids(&mut blob)?;
    blob.finish()?;
    Ok(())
}

/// Centroids of lists and nodes, all in `f32`. The lists of a node lie side by side.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Panels,
    pub(crate) lists: Panels,
    /// The first list of each node, and the number of lists at the end.
    pub(crate) starts: Vec<u32>,
}

impl Tree {
    /// The tree over these lists; a node's centroid is the mean of those of its lists.
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

    /// Bytes in RAM of a tree of so many lists.
    pub(crate) fn bytes(dim: usize, lists: usize, nodes: usize) -> usize {
        Panels::bytes(dim, lists) + Panels::bytes(dim, nodes) + (nodes + 1) * size_of::<u32>()
    }

    /// Reads the mean of the routing space and the tree from a file with so many nodes and lists.
    pub(crate) fn read(
        file: &ExtentFile,
        dim: usize,
        nodes: usize,
        lists: usize,
    ) -> Result<(Vec<f32>, Self)> {
        check_size(file, dim, nodes, lists)?;
        let mut at = PAGE as u64;
        let mut mean = vec![0.0; dim];
        at = fill(file, MEAN, at, bytemuck::cast_slice_mut(&mut mean))?;
        let mut starts = vec![0; nodes + 1];
        at = fill(file, STARTS, at, bytemuck::cast_slice_mut(&mut starts))?;
        check_starts(file, &starts, lists)?;
        let mut panels = Panels::with_capacity(dim, lists);
        let mut row = vec![0.0; dim];
        let mut blob = BlobReader::new(file, CENTROIDS, rest(file, at))?;
        for _ in 0..lists {
            blob.read(bytemuck::cast_slice_mut(&mut row))?;
            panels.push(&row);
        }
        blob.finish()?;
        Ok((mean, Self::new(panels, starts)))
    }

    /// The lists of a node.
    pub(crate) fn lists_of(&self, node: u32) -> Range<usize> {
        self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize
    }
}

/// Reads a blob of known length from `at` on and says where it ends.
pub(crate) fn fill(file: &ExtentFile, kind: u16, at: u64, out: &mut [u8]) -> Result<u64> {
    let range = ReadRange { offset: at, bytes: blob_bytes(out.len()) };
    let mut blob = BlobReader::new(file, kind, range)?;
    blob.read(out)?;
    blob.finish()?;
    Ok(range.end())
}

/// Bytes on disk of a blob of `len` bytes.
pub(crate) fn blob_bytes(len: usize) -> usize {
    let chunk = nearline_storage::blob::CHUNK;
    let full = len / chunk;
    let tail = if !len.is_multiple_of(chunk) || full == 0 {
        nearline_storage::extent_bytes(&[len % chunk])
    } else {
        0
    };
    full * nearline_storage::extent_bytes(&[chunk]) + tail
}

pub(crate) fn rest(file: &ExtentFile, at: u64) -> ReadRange {
    ReadRange { offset: at, bytes: file.len().saturating_sub(at) as usize }
}

/// Refuses counts whose values cannot all be in the file, before any memory is taken for them.
fn check_size(file: &ExtentFile, dim: usize, nodes: usize, lists: usize) -> Result<()> {
    let values = (dim as u64).saturating_mul(lists as u64 + 1).saturating_add(nodes as u64 + 1);
    let wanted = values.saturating_mul(4);
    if wanted > file.len() {
        return Err(StorageError::unexpected_end(file.file().path(), PAGE as u64, wanted, file.len()).into());
    }
    Ok(())
}

/// The nodes must divide all lists among them, in order.
pub(crate) fn check_starts(file: &ExtentFile, starts: &[u32], lists: usize) -> Result<()> {
    let last = starts.last().copied().unwrap_or(0) as usize;
    if starts.first() != Some(&0) || last != lists || !starts.is_sorted() {
        return Err(StorageError::Corrupt {
            file: file.file().path().to_owned(),
            offset: PAGE as u64,
            what: "lists of the router's nodes",
            found: last as u64,
            expected: lists as u64,
        }
        .into());
    }
    Ok(())
}
