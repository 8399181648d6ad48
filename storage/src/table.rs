//! Sorted tables: keys and values in the order of the keys' bytes, written once, in one file of extents.
//!
//! Entries lie in **blocks** of a page or a few, with the keys' common prefixes left out. An **index block** names some
//! hundreds of blocks, and the **top index**, the only part that must be in RAM, names the index blocks; so a lookup
//! reads two blocks at most. A **filter** spares nearly all lookups of keys that are not there even these. A value too
//! large for a block is a blob of its own. The **footer** is the file's last page; a file without it was never
//! finished.
//!
//! A [`TableWriter`] writes a table from front to back; a [`Table`] is open for reading; [`merge`] goes through many
//! tables as if they were one.

mod block;
mod fetch;
mod filter;
mod footer;
mod index;
mod iter;
mod merge;
mod reader;
mod verify;
mod writer;

pub use iter::TableIter;
pub use merge::{Merge, Pair, merge};
pub use reader::Table;
pub use writer::TableWriter;

use crate::disk::PAGE;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 1024;
/// The longest value, in bytes.
pub const MAX_VALUE: usize = 1 << 30;
/// The largest block, in bytes on disk: places in a block are two bytes.
const MAX_BLOCK: usize = 64 << 10;

/// Kinds of extents.
const DATA: u16 = 20;
const INDEX: u16 = 21;
const VALUE: u16 = 22;
const TOP: u16 = 23;
const FILTER: u16 = 24;
const FOOTER: u16 = 25;

/// How a table is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableOptions {
    /// The size of a block on disk, in bytes: whole pages, one to sixteen of them. What does not fit is rounded.
    /// Larger blocks waste less where values are nearly as large as a page, and cost more to read.
    pub block_bytes: usize,
    /// Bits of the filter for each key; 0 for no filter. With 10, about one of a hundred lookups of absent keys is
    /// let through.
    pub filter_bits: u32,
    /// How many keys there will be, where that is known: the filter is filled as they come, and their hashes need not be
    /// kept until then. The file is the same; with another number of keys the filter is as good as its size lets it be.
    pub keys: Option<u64>,
}

impl Default for TableOptions {
    fn default() -> Self {
        Self { block_bytes: PAGE, filter_bits: 10, keys: None }
    }
}

/// What a table holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSummary {
    /// How many entries.
    pub entries: u64,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The smallest key; empty if there is no entry.
    pub smallest: Vec<u8>,
    /// The largest key; empty if there is no entry.
    pub largest: Vec<u8>,
}
