//! Getting blocks and values: from the cache, one by one from the file, or many in a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::blob::{blob_bytes, check, decode_single, read_blob};
use crate::codec::Decoder;
use crate::disk::{BatchReader, ReadRange, Window};
use crate::error::{Result, StorageError};
use crate::extent::{Extent, HEADER};
use crate::table::block::{Entries, Entry};
use crate::table::index::{BlockRef, offset_of};
use crate::table::{DATA, MAX_VALUE, Table, VALUE};

/// Fewer reads than these are done one by one: setting up a batch costs more than it saves.
const BATCH_MIN: usize = 4;
const WINDOW: Window = Window { reads: 128, bytes: 4 << 20 };
/// Blobs up to this length on disk are a single extent.
const SINGLE: usize = 1 << 20;

/// Where a value that is a blob lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    len: usize,
    pub(super) range: ReadRange,
}

impl Table {
    /// The contents of a block, which is kept in the cache.
    pub(super) fn load(&self, kind: u16, block: BlockRef) -> Result<Arc<[u8]>> {
        let (file_id, offset) = (self.file.file_id(), block.range.offset);
        if let Some(bytes) = self.cache.get(file_id, offset) {
            return Ok(bytes);
        }
        let bytes = self.read(kind, block)?;
        self.cache.insert(file_id, offset, Arc::clone(&bytes));
        Ok(bytes)
    }

    /// The contents of a block, past the cache.
    pub(super) fn read(&self, kind: u16, block: BlockRef) -> Result<Arc<[u8]>> {
        let mut buf = Vec::new();
        let extent = self.file.read_extent(block.range, &mut buf)?;
        self.contents(kind, block, &extent)
    }

    /// The decoded entries of a block.
    pub(super) fn entries(&self, kind: u16, block: BlockRef, cached: bool) -> Result<Entries> {
        let bytes = if cached { self.load(kind, block)? } else { self.read(kind, block)? };
        Entries::decode(bytes, self.file.file().path(), block.range.offset)
    }

    /// The contents of many blocks by offset. Each that the cache lacks is read once, all of them in a batch.
    pub(super) fn load_many(
        &self,
        kind: u16,
        blocks: impl Iterator<Item = BlockRef>,
    ) -> Result<BTreeMap<u64, Arc<[u8]>>> {
        let file_id = self.file.file_id();
        let wanted: BTreeMap<u64, BlockRef> = blocks.map(|block| (block.range.offset, block)).collect();
        let (mut found, mut missing) = (BTreeMap::new(), Vec::new());
        for (offset, block) in wanted {
            match self.cache.get(file_id, offset) {
                Some(bytes) => drop(found.insert(offset, bytes)),
                None => missing.push(block),
            }
        }
        let ranges: Vec<ReadRange> = missing.iter().map(|block| block.range).collect();
        self.batch(&ranges, |i, bytes| {
            let offset = ranges[i].offset;
            let bytes = self.contents(kind, missing[i], &self.file.decode(offset, bytes)?)?;
            self.cache.insert(file_id, offset, Arc::clone(&bytes));
            found.insert(offset, bytes);
            Ok(())
        })?;
        Ok(found)
    }

    /// The value of an entry of the block at `offset`.
    pub(super) fn value(&self, entry: Entry<'_>, offset: u64) -> Result<Vec<u8>> {
        if entry.elsewhere { self.read_value(self.place(entry, offset)?) } else { Ok(entry.value.to_vec()) }
    }

    /// Where the value of an entry of the block at `offset` lies, given that it is elsewhere.
    pub(super) fn place(&self, entry: Entry<'_>, offset: u64) -> Result<Place> {
        let base = offset + HEADER as u64;
        let mut fields = Decoder::new(entry.value, self.file.file().path(), base);
        let (len, page) = (fields.varint()?, fields.varint()?);
        if len > MAX_VALUE as u64 {
            return Err(fields.wrong(base, "length of a value", len, MAX_VALUE as u64));
        }
        let offset = offset_of(page, base, &fields)?;
        fields.finish()?;
        Ok(Place { len: len as usize, range: ReadRange { offset, bytes: blob_bytes(len as usize) } })
    }

    /// The values at many places, by their order. Those that are a single extent are read in a batch.
    pub(super) fn read_values(&self, places: &[Place]) -> Result<Vec<Vec<u8>>> {
        let mut values = vec![Vec::new(); places.len()];
        let (small, large): (Vec<usize>, Vec<usize>) =
            (0..places.len()).partition(|&i| places[i].range.bytes <= SINGLE);
        let ranges: Vec<ReadRange> = small.iter().map(|&i| places[i].range).collect();
        self.batch(&ranges, |i, bytes| {
            let value = decode_single(&self.file, VALUE, ranges[i], bytes)?;
            values[small[i]] = self.of_length(value.to_vec(), places[small[i]])?;
            Ok(())
        })?;
        for i in large {
            values[i] = self.read_value(places[i])?;
        }
        Ok(values)
    }

    fn read_value(&self, place: Place) -> Result<Vec<u8>> {
        self.of_length(read_blob(&self.file, VALUE, place.range)?, place)
    }

    fn of_length(&self, value: Vec<u8>, place: Place) -> Result<Vec<u8>> {
        let wanted = [("length of a value", value.len() as u64, place.len as u64)];
        check(self.file.file().path(), place.range.offset, &wanted)?;
        Ok(value)
    }

    fn contents(&self, kind: u16, block: BlockRef, extent: &Extent<'_>) -> Result<Arc<[u8]>> {
        let count = u64::from(extent.header.count);
        let wanted = [
            ("kind of block", u64::from(extent.header.kind), u64::from(kind)),
            ("number of planes", extent.plane_count() as u64, 1),
            ("entries of a block", count, if kind == DATA { block.entries } else { count }),
        ];
        check(self.file.file().path(), block.range.offset, &wanted)?;
        Ok(extent.plane(0).into())
    }

    /// Reads all ranges and hands their bytes to `take`, in any order.
    fn batch(&self, ranges: &[ReadRange], mut take: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        for range in ranges {
            self.file.check_inside(*range)?;
        }
        let reader = if ranges.len() < BATCH_MIN { None } else { self.batch_reader()? };
        let Some(mut reader) = reader else { return self.one_by_one(ranges, take) };
        let mut waiting = ranges.iter().enumerate().peekable();
        loop {
            while let Some((i, range)) = waiting.next_if(|(_, range)| reader.has_room(**range)) {
                reader.submit(i as u64, 0, *range)?;
            }
            match reader.wait()? {
                Some(done) => take(done.tag as usize, done.bytes)?,
                None => return Ok(()),
            }
        }
    }

    /// A reader of the file, unless it has lost its name since: then it is read through the handle that is open.
    fn batch_reader(&self) -> Result<Option<Box<dyn BatchReader>>> {
        match self.disk.batch_reader(&[self.file.name()], WINDOW) {
            Ok(reader) => Ok(Some(reader)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn one_by_one(
        &self,
        ranges: &[ReadRange],
        mut take: impl FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut buf = Vec::new();
        for (i, range) in ranges.iter().enumerate() {
            buf.resize(range.bytes, 0);
            self.file.file().read_at(range.offset, &mut buf)?;
            take(i, &buf)?;
        }
        Ok(())
    }
}
