//! Bytes on disk for Nearline: the ground every other crate stands on.
//!
//! This crate knows folders, files, extents and checksums. It never knows what a vector is.
//!
//! A map, from the bottom up:
//! - [`disk`]: the traits everything above uses; [`OsDisk`] is the real one (io_uring with `O_DIRECT`, or a
//!   pool of `pread` threads), `SimDisk` (feature `sim`) the one that lies and loses power.
//! - [`buffer`]: page-aligned memory, pooled.
//! - [`codec`], [`checksum`]: checked little-endian values, CRC-32C keyed by place.
//! - [`extent`]: a self-checking run of pages; [`sealed`]: files made of them; [`blob`]: large sections made of
//!   many.
//! - [`table`]: sorted tables of keys and values, written once; [`cache`]: their blocks, kept within a budget.
//! - [`atomic`]: replacing a small file so that a crash leaves the old one or the new one.
//! - [`record`]: small files of one extent, replaced so.
//! - [`wal`]: the write-ahead log, whose records survive once they are synced; [`commit`]: many threads share a sync.
//!
//! Every byte is described in `docs/format.md`.

pub mod atomic;
mod background;
pub mod blob;
pub mod buffer;
pub mod cache;
pub mod checksum;
pub mod codec;
pub mod commit;
pub mod disk;
pub mod error;
pub mod extent;
pub mod record;
pub mod sealed;
mod sync;
pub mod table;
pub mod wal;

pub use atomic::{is_temp_name, replace_file, replacement_name};
pub use background::work_in_background;
pub use blob::{BlobReader, BlobWriter, read_blob, write_blob};
pub use buffer::prefer_huge_pages;
pub use cache::{BlockCache, CacheCounters};
pub use checksum::Checksum;
pub use codec::{Decoder, Encoder};
pub use commit::Group;
#[cfg(any(test, feature = "sim"))]
pub use disk::sim::{Fault, Faults, SimDisk};
pub use disk::{
    BatchFiles, BatchReader, Completed, Disk, DiskFile, FolderLock, IoInUse, IoMode, LockMode, OsDisk, PAGE,
    PartDisk, ReadCounters, ReadRange, Window,
};
pub use error::{Result, StorageError};
pub use extent::{
    Extent, ExtentHeader, ExtentKey, MAX_EXTENT_BYTES, MAX_PLANES, encode_extent, extent_bytes,
};
pub use record::{read_record, replace_record};
pub use sealed::{ExtentFile, ExtentFileWriter, Extents, FileHeader};
pub use table::{Merge, Pair, Table, TableIter, TableOptions, TableSummary, TableWriter, merge};
pub use wal::{MAX_RECORD_BYTES, Wal, WalOptions};
