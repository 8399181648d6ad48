//! Partitions: the temporary files that sort entries by list. Each holds the entries of a range of lists.
//!
//! An entry is list `u32`, row `u32`, then the vector as in the input. Entries of a list come in order of rows.

use std::ops::Range;
use std::sync::Arc;

use nearline_storage::{Disk, DiskFile};

use super::plan::{Plan, entry_bytes};
use crate::error::Result;
use crate::vector::Shape;

/// Bytes gathered for each partition before they are written.
pub(crate) fn buffer_bytes(plan: &Plan) -> usize {
    (plan.window_bytes / 4 / plan.partitions).clamp(4096, 1 << 20) as usize
}

/// The name of a partition's file.
pub(crate) fn name(partition: usize) -> String {
    format!("build.partition.{partition:04}")
}

/// The lists of a partition, out of `lists`.
pub(crate) fn lists_of(partition: usize, partitions: u64, lists: u32) -> Range<u32> {
    let bound = |p: u64| (p * u64::from(lists) / partitions) as u32;
    bound(partition as u64)..bound(partition as u64 + 1)
}

/// Writes entries to all partitions.
pub(crate) struct Writers {
    files: Vec<Arc<dyn DiskFile>>,
    written: Vec<u64>,
    buffers: Vec<Vec<u8>>,
    buffer_bytes: usize,
    /// The last list of each partition, plus one.
    ends: Vec<u32>,
}

impl Writers {
    /// Opens the files, cut to the lengths a checkpoint knows; without one, new.
    pub(crate) fn open(disk: &dyn Disk, plan: &Plan, lists: u32, lens: &[u64]) -> Result<Self> {
        let count = plan.partitions as usize;
        let names = disk.list()?;
        let mut files = Vec::with_capacity(count);
        for partition in 0..count {
            let name = name(partition);
            let file = if names.contains(&name) { disk.open_rw(&name)? } else { disk.create(&name)? };
            file.set_len(lens.get(partition).copied().unwrap_or(0))?;
            files.push(file);
        }
        let mut written = lens.to_vec();
        written.resize(count, 0);
        Ok(Self {
            files,
            written,
            buffers: vec![Vec::new(); count],
            buffer_bytes: buffer_bytes(plan),
            ends: (0..count).map(|p| lists_of(p, plan.partitions, lists).end).collect(),
        })
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, list: u32, row: u32, vector: &[u8]) -> Result<()> {
        let partition = self.ends.partition_point(|&end| end <= list);
        let buffer = &mut self.buffers[partition];
        buffer.extend_from_slice(&list.to_le_bytes());
        buffer.extend_from_slice(&row.to_le_bytes());
        buffer.extend_from_slice(vector);
        if buffer.len() >= self.buffer_bytes { self.flush(partition) } else { Ok(()) }
    }

    /// Makes everything survive a crash and returns the files' lengths.
    pub(crate) fn sync(&mut self) -> Result<Vec<u64>> {
        for partition in 0..self.files.len() {
            self.flush(partition)?;
            self.files[partition].sync()?;
        }
        Ok(self.written.clone())
    }

    fn flush(&mut self, partition: usize) -> Result<()> {
        let buffer = &mut self.buffers[partition];
        self.files[partition].write_at(self.written[partition], buffer)?;
        self.written[partition] += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }
}

/// A part of a partition that is sorted at a time: the entries of some lists, or some entries of one long list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) lists: Range<u32>,
    /// Entries of each list to leave out at its front, for all lists of the window.
    skip: usize,
    /// Entries of each list to take.
    counts: Vec<usize>,
}

/// The entries of a window, sorted by list.
#[derive(Debug)]
pub(crate) struct Sorted {
    pub(crate) first_list: u32,
    /// Each list's part of the entries.
    pub(crate) ranges: Vec<Range<usize>>,
    /// Little-endian row numbers.
    pub(crate) rows: Vec<u8>,
    pub(crate) vectors: Vec<u8>,
}

/// Reads the entries of one partition.
pub(crate) struct Reader {
    file: Arc<dyn DiskFile>,
    bytes: u64,
    entry: usize,
    lists: Range<u32>,
    window_entries: usize,
}

impl Reader {
    pub(crate) fn open(
        disk: &dyn Disk,
        plan: &Plan,
        shape: Shape,
        lists: u32,
        partition: usize,
        bytes: u64,
    ) -> Result<Self> {
        let entry = entry_bytes(shape) as usize;
        Ok(Self {
            file: disk.open(&name(partition))?,
            bytes,
            entry,
            lists: lists_of(partition, plan.partitions, lists),
            window_entries: (plan.window_bytes as usize / entry).max(1),
        })
    }

    /// Divides the partition into windows that fit the memory.
    pub(crate) fn windows(&self) -> Result<Vec<Window>> {
        let mut counts = vec![0usize; self.lists.len()];
        self.for_each(|list, _, _| counts[(list - self.lists.start) as usize] += 1)?;
        let mut windows = Vec::new();
        let mut open = Window { lists: self.lists.start..self.lists.start, skip: 0, counts: Vec::new() };
        let mut held = 0;
        for (list, &count) in self.lists.clone().zip(&counts) {
            if held > 0 && held + count > self.window_entries {
                windows.push(std::mem::replace(
                    &mut open,
                    Window { lists: list..list, skip: 0, counts: Vec::new() },
                ));
                held = 0;
            }
            if count > self.window_entries {
                windows.extend(self.pieces(list, count));
                open = Window { lists: list + 1..list + 1, skip: 0, counts: Vec::new() };
                continue;
            }
            open.lists.end = list + 1;
            open.counts.push(count);
            held += count;
        }
        windows.push(open);
        windows.retain(|window| window.counts.iter().any(|&count| count > 0));
        Ok(windows)
    }

    /// A list too long for the memory, piece by piece.
    fn pieces(&self, list: u32, count: usize) -> impl Iterator<Item = Window> {
        let step = self.window_entries;
        (0..count).step_by(step).map(move |skip| Window {
            lists: list..list + 1,
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
        let row_bytes = self.entry - 8;
        let mut sorted = Sorted {
            first_list: window.lists.start,
            rows: vec![0; end * 4],
            vectors: vec![0; end * row_bytes],
            ranges,
        };
        let mut seen = vec![0usize; window.counts.len()];
        self.for_each(|list, row, vector| {
            if !window.lists.contains(&list) {
                return;
            }
            let at = (list - window.lists.start) as usize;
            let place = seen[at].checked_sub(window.skip).filter(|&place| place < window.counts[at]);
            seen[at] += 1;
            if let Some(place) = place {
                let slot = sorted.ranges[at].start + place;
                sorted.rows[slot * 4..][..4].copy_from_slice(row);
                sorted.vectors[slot * row_bytes..][..row_bytes].copy_from_slice(vector);
            }
        })?;
        Ok(sorted)
    }

    /// Streams all entries: list, row, vector.
    fn for_each(&self, mut each: impl FnMut(u32, &[u8], &[u8])) -> Result<()> {
        let chunk = ((1 << 20) / self.entry).max(1) * self.entry;
        let mut buffer = vec![0; chunk];
        let mut at = 0;
        while at < self.bytes {
            let now = (self.bytes - at).min(chunk as u64) as usize;
            self.file.read_at(at, &mut buffer[..now])?;
            for entry in buffer[..now].chunks_exact(self.entry) {
                let (head, vector) = entry.split_at(8);
                let (list, row) = head.split_at(4);
                each(u32::from_le_bytes([list[0], list[1], list[2], list[3]]), row, vector);
            }
            at += now as u64;
        }
        Ok(())
    }
}
