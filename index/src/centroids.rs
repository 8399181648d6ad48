//! The file of centroids: the routing space's mean, the tree's nodes and the centroid of every list.
//!
//! Three blobs, in this order: mean (`f32` x routing dimensions), starts (`u32` x nodes + 1: the first list of each
//! node, then the number of lists), centroids (`f32` x routing dimensions x lists, in order of the lists).

use nearline_storage::{BlobReader, BlobWriter, ExtentFile, ExtentFileWriter, PAGE, ReadRange, StorageError};

use crate::error::Result;
use crate::panels::Panels;
use crate::router::Router;

const MEAN: u16 = 3;
const STARTS: u16 = 4;
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

/// What the file says, ready to route.
pub(crate) struct Centroids {
    pub(crate) mean: Vec<f32>,
    pub(crate) starts: Vec<u32>,
    pub(crate) lists: Panels,
}

impl Centroids {
    /// Reads the file of an index with so many routing dimensions, nodes and lists.
    pub(crate) fn read(file: &ExtentFile, dim: usize, nodes: usize, lists: usize) -> Result<Self> {
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
        Ok(Self { mean, starts, lists: panels })
    }

    /// The router over these centroids.
    pub(crate) fn into_router(self) -> Router {
        Router::new(self.lists, self.starts)
    }
}

/// Reads a blob of known length from `at` on and says where it ends.
fn fill(file: &ExtentFile, kind: u16, at: u64, out: &mut [u8]) -> Result<u64> {
    let range = ReadRange { offset: at, bytes: blob_bytes(out.len()) };
    let mut blob = BlobReader::new(file, kind, range)?;
    blob.read(out)?;
    blob.finish()?;
    Ok(range.end())
}

/// Bytes on disk of a blob of `len` bytes.
fn blob_bytes(len: usize) -> usize {
    let chunk = nearline_storage::blob::CHUNK;
    let full = len / chunk;
    let tail = if !len.is_multiple_of(chunk) || full == 0 {
        nearline_storage::extent_bytes(&[len % chunk])
    } else {
        0
    };
    full * nearline_storage::extent_bytes(&[chunk]) + tail
}

fn rest(file: &ExtentFile, at: u64) -> ReadRange {
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
fn check_starts(file: &ExtentFile, starts: &[u32], lists: usize) -> Result<()> {
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
