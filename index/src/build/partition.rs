//! Partitions: the temporary files that sort vectors by a key (their node, their list, or the lists of their copies). Each holds the
//! entries of a range of keys.
//!
//! An entry is key `u32`, row `u32`, then a payload: the vector as in the input, for copies behind a slot and a ratio.
//! Entries of a key come in the order in which they were written.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use nearline_storage::{Checksum, Disk, DiskFile, StorageError};

use super::plan::{Plan, entry_bytes};
use crate::error::Result;

/// Bytes gathered for each partition before they are written.
pub(crate) fn buffer_bytes(plan: &Plan) -> usize {
    (plan.window_bytes / 4 / plan.partitions).clamp(4096, 1 << 20) as usize
}

/// What partitions sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Each vector's node of the router, once.
    Nodes,
    /// Each vector's nearest list.
    Lists,
    /// The lists of its copies.
    Copies,
}

impl Keys {
    /// The name of a partition's file.
    pub(crate) fn name(self, partition: usize) -> String {
        format!("{}.{partition:04}", self.stem())
    }

    /// Whether some partition's file has this name.
    pub(crate) fn is_name(name: &str) -> bool {
        [Self::Nodes, Self::Lists, Self::Copies].into_iter().any(|keys| {
            name.strip_prefix(keys.stem())
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|rest| rest.len() >= 4 && rest.bytes().all(|byte| byte.is_ascii_digit()))
        })
    }

    fn stem(self) -> &'static str {
        match self {
            Self::Nodes => "build.by-nodes",
            Self::Lists => "build.by-lists",
            Self::Copies => "build.copies",
        }
    }
}

/// A set of partitions: what it sorts by, and the number of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) by: Keys,
    pub(crate) keys: u32,
}

/// The keys of a partition, out of `0..keys`.
pub(crate) fn keys_of(partition: usize, partitions: u64, keys: u32) -> Range<u32> {
    let bound = |p: u64| (p * u64::from(keys) / partitions) as u32;
    bound(partition as u64)..bound(partition as u64 + 1)
}

/// What is known of a file without extents: how much of it was written, and the checksum of that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) checksum: Checksum,
}

impl Written {
    /// Takes note of bytes that were appended.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.checksum = self.checksum.update(bytes);
    }

    /// Refuses a file whose bytes, read back, have another checksum.
    pub(crate) fn check(&self, read: Checksum, path: &Path) -> Result<()> {
        if read == self.checksum {
            return Ok(());
        }
        let (found, expected) = (read.value().into(), self.checksum.value().into());
        Err(StorageError::corrupt(path, 0, "checksum of the whole file", found, expected).into())
    }
}

/// Writes entries to all partitions of a set.
pub(crate) struct Writers {
    files: Vec<Arc<dyn DiskFile>>,
    written: Vec<Written>,
    buffers: Vec<Vec<u8>>,
    buffer_bytes: usize,
    /// The last key of each partition, plus one.
    ends: Vec<u32>,
}

impl Writers {
    /// Opens the files, cut to what a checkpoint knows of them; without one, new.
    pub(crate) fn open(disk: &dyn Disk, plan: &Plan, set: Set, known: &[Written]) -> Result<Self> {
        let count = plan.partitions as usize;
        let names = disk.list()?;
        let mut files = Vec::with_capacity(count);
        for partition in 0..count {
            let name = set.by.name(partition);
            let file = if names.contains(&name) { disk.open_rw(&name)? } else { disk.create(&name)? };
            cut(file.as_ref(), known.get(partition).map_or(0, |known| known.bytes))?;
            files.push(file);
        }
        let mut written = known.to_vec();
        written.resize(count, Written::default());
        Ok(Self {
            files,
            written,
            buffers: vec![Vec::new(); count],
            buffer_bytes: buffer_bytes(plan),
            ends: (0..count).map(|p| keys_of(p, plan.partitions, set.keys).end).collect(),
        })
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, key: u32, row: u32, payload: &[&[u8]]) -> Result<()> {
        let partition = self.ends.partition_point(|&end| end <= key);
        let buffer = &mut self.buffers[partition];
        buffer.extend_from_slice(&key.to_le_bytes());
        buffer.extend_from_slice(&row.to_le_bytes());
        payload.iter().for_each(|part| buffer.extend_from_slice(part));
        if buffer.len() >= self.buffer_bytes { self.flush(partition) } else { Ok(()) }
    }

    /// Makes everything survive a crash and returns what the files hold.
    pub(crate) fn sync(&mut self) -> Result<Vec<Written>> {
        let written = self.finish()?;
        self.files.iter().try_for_each(|file| file.sync())?;
        Ok(written)
    }

    /// Writes everything out and returns what the files hold.
    pub(crate) fn finish(&mut self) -> Result<Vec<Written>> {
        for partition in 0..self.files.len() {
            self.flush(partition)?;
        }
        Ok(self.written.clone())
    }

    fn flush(&mut self, partition: usize) -> Result<()> {
        let buffer = &mut self.buffers[partition];
        self.files[partition].write_at(self.written[partition].bytes, buffer)?;
        self.written[partition].add(buffer);
        buffer.clear();
        Ok(())
    }
}

/// Cuts a temporary file to the length a checkpoint knows; a shorter one has lost what was synced.
pub(crate) fn cut(file: &dyn DiskFile, len: u64) -> Result<()> {
    let there = file.len()?;
    if there < len {
        return Err(StorageError::unexpected_end(file.path(), there, len - there, there).into());
    }
    Ok(file.set_len(len)?)
}

/// A part of a partition that is sorted at a time: the entries of some keys, or some entries of one long key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) keys: Range<u32>,
    /// Entries of each key to leave out at its front, for all keys of the window.
    skip: usize,
    /// Entries of each key to take.
    counts: Vec<usize>,
}

/// The entries of a window, sorted by key.
#[derive(Debug)]
pub(crate) struct Sorted {
    pub(crate) first_key: u32,
    /// Each key's part of the entries.
    pub(crate) ranges: Vec<Range<usize>>,
    /// Little-endian row numbers.
    pub(crate) rows: Vec<u8>,
    pub(crate) payloads: Vec<u8>,
}

impl Sorted {
    /// The row of an entry.
    pub(crate) fn row(&self, entry: usize) -> u32 {
        let bytes = &self.rows[entry * 4..][..4];
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}

/// Reads the entries of one partition.
pub(crate) struct Reader {
    file: Arc<dyn DiskFile>,
    written: Written,
    entry: usize,
    keys: Range<u32>,
    window_entries: usize,
}

impl Reader {
    pub(crate) fn open(
        disk: &dyn Disk,
        plan: &Plan,
        payload: usize,
        set: Set,
        partition: usize,
        written: Written,
    ) -> Result<Self> {
        let entry = entry_bytes(payload) as usize;
        Ok(Self {
            file: disk.open(&set.by.name(partition))?,
            written,
            entry,
            keys: keys_of(partition, plan.partitions, set.keys),
            window_entries: (plan.window_bytes as usize / entry).max(1),
        })
    }

    /// Divides the partition into windows that fit the memory.
    pub(crate) fn windows(&self) -> Result<Vec<Window>> {
        let mut counts = vec![0usize; self.keys.len()];
        self.for_each(|key, _, _| counts[(key - self.keys.start) as usize] += 1)?;
        let mut windows = Vec::new();
        let mut open = Window { keys: self.keys.start..self.keys.start, skip: 0, counts: Vec::new() };
        let mut held = 0;
        for (key, &count) in self.keys.clone().zip(&counts) {
            if held > 0 && held + count > self.window_entries {
                windows.push(std::mem::replace(
                    &mut open,
                    Window { keys: key..key, skip: 0, counts: Vec::new() },
                ));
                held = 0;
            }
            if count > self.window_entries {
                windows.extend(self.pieces(key, count));
                open = Window { keys: key + 1..key + 1, skip: 0, counts: Vec::new() };
                continue;
            }
            open.keys.end = key + 1;
            open.counts.push(count);
            held += count;
        }
        windows.push(open);
        windows.retain(|window| window.counts.iter().any(|&count| count > 0));
        Ok(windows)
    }

    /// A key too long for the memory, piece by piece.
    fn pieces(&self, key: u32, count: usize) -> impl Iterator<Item = Window> {
        let step = self.window_entries;
        (0..count).step_by(step).map(move |skip| Window {
            keys: key..key + 1,
            skip,
            counts: vec![step.min(count - skip)],
        })
    }

    /// Loads and sorts a window.
    pub(crate) fn load(&self, window: &Window) -> Result<Sorted> {
        let mut end = 0;
        let ranges: Vec<Range<usize>> = window
            .counts
            .iter()
            .map(|count| {
                end += count;
                end - count..end
            })
            .collect();
        let payload_bytes = self.entry - 8;
        let mut sorted = Sorted {
            first_key: window.keys.start,
            rows: vec![0; end * 4],
            payloads: vec![0; end * payload_bytes],
            ranges,
        };
        let mut seen = vec![0usize; window.counts.len()];
        self.for_each(|key, row, vector| {
            if !window.keys.contains(&key) {
                return;
            }
            let at = (key - window.keys.start) as usize;
            let place = seen[at].checked_sub(window.skip).filter(|&place| place < window.counts[at]);
            seen[at] += 1;
            if let Some(place) = place {
                let slot = sorted.ranges[at].start + place;
                sorted.rows[slot * 4..][..4].copy_from_slice(row);
                sorted.payloads[slot * payload_bytes..][..payload_bytes].copy_from_slice(vector);
            }
        })?;
        Ok(sorted)
    }

    /// Streams all entries: key, row, vector. Every key is one of the partition's.
    fn for_each(&self, mut each: impl FnMut(u32, &[u8], &[u8])) -> Result<()> {
        let chunk = ((1 << 20) / self.entry).max(1) * self.entry;
        let mut buffer = vec![0; chunk];
        let (mut at, mut checksum) = (0, Checksum::default());
        while at < self.written.bytes {
            let now = (self.written.bytes - at).min(chunk as u64) as usize;
            self.file.read_at(at, &mut buffer[..now])?;
            checksum = checksum.update(&buffer[..now]);
            if now < self.entry {
                let end = self.written.bytes;
                return Err(StorageError::unexpected_end(self.file.path(), at, self.entry as u64, end).into());
            }
            for entry in buffer[..now].chunks_exact(self.entry) {
                let (head, vector) = entry.split_at(8);
                let (key, row) = head.split_at(4);
                let key = u32::from_le_bytes([key[0], key[1], key[2], key[3]]);
                if !self.keys.contains(&key) {
                    let (found, expected) = (key.into(), self.keys.start.into());
                    let what = "key of an entry";
                    return Err(StorageError::corrupt(self.file.path(), at, what, found, expected).into());
                }
                each(key, row, vector);
                at += self.entry as u64;
            }
        }
        self.written.check(checksum, self.file.path())
    }
}

#[cfg(test)]
mod tests {
    use nearline_storage::SimDisk;

    use super::*;
    use crate::error::IndexError;

    const PAYLOAD: usize = 4;
    const SET: Set = Set { by: Keys::Lists, keys: 10 };

    fn plan(window_bytes: u64) -> Plan {
        Plan { partitions: 2, window_bytes, ..Plan::default() }
    }

    /// Writes entries of these keys, the row being the place in the list, and returns what the partitions hold.
    fn written(disk: &SimDisk, keys: &[u32]) -> Vec<Written> {
        let mut writers = Writers::open(disk, &plan(1 << 20), SET, &[]).unwrap();
        for (row, &key) in keys.iter().enumerate() {
            writers.push(key, row as u32, &[&[key as u8], &[row as u8; PAYLOAD - 1]]).unwrap();
        }
        writers.sync().unwrap()
    }

    #[test]
    fn entries_come_back_by_key_and_row_in_any_memory() {
        let disk = SimDisk::new(1);
        let keys = [9, 0, 3, 3, 0, 7, 3, 9, 3, 3];
        let lens = written(&disk, &keys);
        for window_bytes in [1, 24, 36, 1 << 20] {
            let mut found = Vec::new();
            for (partition, &known) in lens.iter().enumerate() {
                let plan = plan(window_bytes);
                let reader = Reader::open(&disk, &plan, PAYLOAD, SET, partition, known).unwrap();
                for window in reader.windows().unwrap() {
                    let sorted = reader.load(&window).unwrap();
                    for (key, range) in (sorted.first_key..).zip(sorted.ranges.clone()) {
                        for entry in range {
                            let row = sorted.row(entry);
                            let payload = &sorted.payloads[entry * PAYLOAD..][..PAYLOAD];
                            assert_eq!(payload, [key as u8, row as u8, row as u8, row as u8]);
                            found.push((key, row));
                        }
                    }
                }
            }
            let mut right: Vec<(u32, u32)> = keys.iter().copied().zip(0..).collect();
            right.sort_unstable();
            assert_eq!(found, right, "{window_bytes} bytes");
        }
    }

    #[test]
    fn names_are_known_again() {
        for keys in [Keys::Nodes, Keys::Lists, Keys::Copies] {
            assert!([0, 9, 12_345].into_iter().all(|partition| Keys::is_name(&keys.name(partition))));
        }
        for name in ["build.by-lists", "build.by-lists.12", "build.by-lists.00x0", "build.log", "build.0001"]
        {
            assert!(!Keys::is_name(name), "{name}");
        }
    }

    #[test]
    fn damaged_entries_are_refused() {
        let disk = SimDisk::new(1);
        let lens = written(&disk, &[0, 1, 2]);
        disk.open_rw(&Keys::Lists.name(0)).unwrap().write_at(12, &200u32.to_le_bytes()).unwrap();
        let reader = Reader::open(&disk, &plan(1 << 20), PAYLOAD, SET, 0, lens[0]).unwrap();
        let error = reader.windows().unwrap_err();
        let IndexError::Storage(StorageError::Corrupt { offset: 12, found: 200, .. }) = error else {
            panic!("{error}")
        };
    }

    #[test]
    fn every_flipped_bit_of_a_partition_is_noticed() {
        let lens = written(&SimDisk::new(1), &[0, 1, 2]);
        for bit in 0..lens[0].bytes * 8 {
            let disk = SimDisk::new(1);
            written(&disk, &[0, 1, 2]);
            disk.flip_bit(&Keys::Lists.name(0), bit);
            let reader = Reader::open(&disk, &plan(1 << 20), PAYLOAD, SET, 0, lens[0]).unwrap();
            assert!(reader.windows().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_partition_that_lost_entries_is_not_gone_on_with() {
        let disk = SimDisk::new(1);
        let mut lens = written(&disk, &[0, 1, 2]);
        assert!(Writers::open(&disk, &plan(1 << 20), SET, &lens).is_ok());
        lens[0].bytes += 1;
        assert!(Writers::open(&disk, &plan(1 << 20), SET, &lens).is_err());
    }
}
