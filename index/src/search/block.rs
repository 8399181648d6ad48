//! Bytes of the disk, read just now or kept from before.

use std::ops::Deref;
use std::sync::Arc;

use nearline_storage::{BlockCache, ExtentFile};

/// An extent's bytes.
#[derive(Debug)]
pub(super) enum Block {
    /// From the disk, in a buffer to be used again.
    Read(Vec<u8>),
    /// From the cache.
    Cached(Arc<[u8]>),
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Cached(bytes) => bytes,
        }
    }
}

impl Block {
    /// What is kept of `file` at `offset`.
    pub(super) fn find(cache: Option<&BlockCache>, file: &ExtentFile, offset: u64) -> Option<Self> {
        cache?.get(file.file_id(), offset).map(Self::Cached)
    }

    /// Keeps the bytes, which passed their checks, unless they come from there.
    pub(super) fn keep(&self, cache: Option<&BlockCache>, file: &ExtentFile, offset: u64) {
        if let (Some(cache), Self::Read(bytes)) = (cache, self) {
            cache.insert(file.file_id(), offset, bytes.as_slice().into());
        }
    }

    /// Gives the buffer back.
    pub(super) fn recycle(self, buffers: &mut Vec<Vec<u8>>) {
        if let Self::Read(bytes) = self {
            buffers.push(bytes);
        }
    }
}
