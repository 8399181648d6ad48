//! Writing a table from front to back.

use crate::blob::write_blob;
use crate::codec::Encoder;
use crate::disk::{Disk, PAGE, ReadRange, page_up};
use crate::error::{Result, StorageError};
use crate::extent::ExtentHeader;
use crate::sealed::{ExtentFileWriter, FileHeader};
use crate::table::block::BlockBuilder;
use crate::table::filter::{Filter, hash};
use crate::table::footer::Footer;
use crate::table::index::{BlockRef, TopIndex, separator};
use crate::table::{DATA, INDEX, MAX_BLOCK, MAX_KEY, MAX_VALUE, TOP, TableOptions, TableSummary, VALUE};

/// Writes a table, entry by entry in ascending order of keys.
///
/// Memory: a few blocks, 1 MiB of bytes to be written, the top index, and the filter, or eight bytes a key where the
/// number of keys is not known ([`TableOptions::keys`]). A file whose writer was dropped before [`TableWriter::finish`] does not open; removing it is up to the caller.
#[derive(Debug)]
pub struct TableWriter {
    file: ExtentFileWriter,
    options: TableOptions,
    block: BlockBuilder,
    index: BlockBuilder,
    /// Entries of the blocks that the index block names so far.
    indexed: u64,
    top: Encoder,
    filter: Option<FilterDraft>,
    entries: u64,
    smallest: Vec<u8>,
}

/// A filter that is being made.
#[derive(Debug)]
enum FilterDraft {
    /// Its size depends on how many keys there will be.
    Hashes(Vec<u64>),
    Filter(Filter),
}

impl TableWriter {
    /// Creates the file `name`, which must not exist. Its `file_id` must be no other file's.
    ///
    /// # Errors
    /// If the file exists, or writing fails.
    pub fn create(disk: &dyn Disk, name: &str, header: FileHeader, options: TableOptions) -> Result<Self> {
        let filter = (options.filter_bits > 0).then(|| match options.keys {
            Some(keys) => FilterDraft::Filter(Filter::for_keys(keys, options.filter_bits)),
            None => FilterDraft::Hashes(Vec::new()),
        });
        let block_bytes = page_up(options.block_bytes.clamp(PAGE, MAX_BLOCK));
        Ok(Self {
            file: ExtentFileWriter::create(disk, name, header)?,
            options,
            block: BlockBuilder::new(block_bytes),
            index: BlockBuilder::new(PAGE),
            indexed: 0,
            top: Encoder::new(),
            filter,
            entries: 0,
            smallest: Vec::new(),
        })
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// `KeyOrder` if `key` is not above the key before it, `TooLong` if key or value are; nothing was written then.
    /// If writing fails; the writer is then of no more use.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.refuse(key, value)?;
        let mut place = Encoder::new();
        let elsewhere = !self.block.fits_alone(key, value.len());
        let value = if elsewhere {
            let range = write_blob(&mut self.file, VALUE, value)?;
            place.varint(value.len() as u64).varint(range.offset / PAGE as u64).as_bytes()
        } else {
            value
        };
        if !self.block.fits(key, value.len()) {
            self.end_block(Some(key))?;
        }
        self.block.push(key, elsewhere, value);
        match &mut self.filter {
            Some(FilterDraft::Hashes(hashes)) => hashes.push(hash(key)),
            Some(FilterDraft::Filter(filter)) => filter.insert(hash(key)),
            None => {}
        }
        if self.entries == 0 {
            self.smallest = key.to_vec();
        }
        self.entries += 1;
        Ok(())
    }

    /// How many entries were pushed.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Writes indexes, filter and footer and syncs the file. Its name survives once the folder is synced, too.
    ///
    /// # Errors
    /// If writing or syncing fails. The file must then be given up.
    pub fn finish(mut self) -> Result<TableSummary> {
        self.end_block(None)?;
        self.end_index_block()?;
        let top = write_blob(&mut self.file, TOP, self.top.as_bytes())?;
        let filter = self.filter.take().map(|draft| match draft {
            FilterDraft::Hashes(hashes) => Filter::build(&hashes, self.options.filter_bits),
            FilterDraft::Filter(filter) => filter,
        });
        let filter = filter.map(|filter| filter.write(&mut self.file)).transpose()?;
        let summary = TableSummary {
            entries: self.entries,
            bytes: self.file.position() + PAGE as u64,
            smallest: self.smallest,
            largest: self.block.last_key().to_vec(),
        };
        let footer = Footer { summary, top, filter };
        footer.write(&mut self.file)?;
        self.file.sync()?;
        Ok(footer.summary)
    }

    fn refuse(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let (file, entry) = (|| self.file.file().path().to_path_buf(), self.entries);
        for (what, found, max) in [("key", key.len(), MAX_KEY), ("value", value.len(), MAX_VALUE)] {
            if found > max {
                return Err(StorageError::TooLong { file: file(), entry, what, found, max });
            }
        }
        if self.entries > 0 && key <= self.block.last_key() {
            return Err(StorageError::KeyOrder { file: file(), entry });
        }
        Ok(())
    }

    /// Writes the block, if it has entries, and names it in the index block. `next` is the key behind it.
    fn end_block(&mut self, next: Option<&[u8]>) -> Result<()> {
        let entries = self.block.count() as u64;
        if entries == 0 {
            return Ok(());
        }
        let range = append(&mut self.file, DATA, &mut self.block)?;
        let last = self.block.last_key();
        let key = next.map_or(last, |next| separator(last, next)).to_vec();
        let mut place = Encoder::new();
        BlockRef { range, entries }.encode(&mut place);
        if !self.index.fits(&key, place.as_bytes().len()) {
            self.end_index_block()?;
        }
        self.index.push(&key, false, place.as_bytes());
        self.indexed += entries;
        Ok(())
    }

    /// Writes the index block, if it has entries, and names it in the top index.
    fn end_index_block(&mut self) -> Result<()> {
        if self.index.count() > 0 {
            let range = append(&mut self.file, INDEX, &mut self.index)?;
            let entries = std::mem::take(&mut self.indexed);
            TopIndex::encode(self.index.last_key(), &BlockRef { range, entries }, &mut self.top);
        }
        Ok(())
    }
}

/// Writes a block and begins the next one.
fn append(file: &mut ExtentFileWriter, kind: u16, block: &mut BlockBuilder) -> Result<ReadRange> {
    let header = ExtentHeader { kind, codec: 0, owner: 0, count: block.count() as u32 };
    file.append(&header, &[&block.finish()])
}
