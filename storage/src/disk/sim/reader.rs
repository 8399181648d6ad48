//! Batch reads of simulated files.

use std::path::PathBuf;
use std::sync::Arc;

use crate::buffer::{AlignedBuf, BufferPool};
use crate::disk::sim::file::SimFile;
use crate::disk::sim::{Shared, lock};
use crate::disk::{
    BatchReader, Completed, DiskFile, ReadCounters, ReadRange, Window, pick_file, refuse_submit,
};
use crate::error::Result;

/// A [`BatchReader`] that completes reads in an order of chance. Waiting starts all queued reads together when nothing
/// else is ready; polling starts them at once, and finds nothing done every other time.
pub(super) struct SimReader {
    folder: PathBuf,
    files: Vec<SimFile>,
    shared: Shared,
    buffers: BufferPool,
    queued: Vec<Read>,
    ready: Vec<Read>,
    handed_out: Option<AlignedBuf>,
    counters: ReadCounters,
}

struct Read {
    tag: u64,
    /// An index into the files of the reader, checked when the read was submitted.
    file: usize,
    range: ReadRange,
    buffer: AlignedBuf,
}

impl SimReader {
    pub(super) fn new(folder: PathBuf, files: Vec<SimFile>, shared: &Shared, window: Window) -> Self {
        Self {
            folder,
            files,
            shared: Arc::clone(shared),
            buffers: BufferPool::new(window),
            queued: Vec::new(),
            ready: Vec::new(),
            handed_out: None,
            counters: ReadCounters::default(),
        }
    }

    fn recycle(&mut self) {
        if let Some(buffer) = self.handed_out.take() {
            self.buffers.give(buffer);
        }
    }

    fn start_queued(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        lock(&self.shared).batches.push(self.queued.len());
        self.counters.enters += 1;
        self.counters.reads += self.queued.len() as u64;
        self.counters.bytes += self.queued.iter().map(|read| read.range.bytes as u64).sum::<u64>();
        self.ready.append(&mut self.queued);
    }

    /// Completes one of the reads that are ready, if there is any.
    fn complete_one(&mut self) -> Result<Option<Completed<'_>>> {
        if self.ready.is_empty() {
            return Ok(None);
        }
        let lucky = lock(&self.shared).random.below(self.ready.len());
        let Read { tag, file, range, buffer } = self.ready.swap_remove(lucky);
        let buffer = self.handed_out.insert(buffer);
        self.files[file].read_at(range.offset, &mut buffer[..range.bytes])?;
        Ok(Some(Completed { tag, bytes: &buffer[..range.bytes] }))
    }
}

impl BatchReader for SimReader {
    fn has_room(&self, range: ReadRange) -> bool {
        self.buffers.has_room_beside(range.bytes, self.handed_out.as_deref())
    }

    fn submit(&mut self, tag: u64, file: usize, range: ReadRange) -> Result<()> {
        self.recycle();
        let source = pick_file(&self.files, file, &self.folder)?;
        refuse_submit(source.path(), range, self.buffers.has_room(range.bytes))?;
        let buffer = self.buffers.take(range.bytes);
        self.queued.push(Read { tag, file, range, buffer });
        Ok(())
    }

    fn wait(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        if self.ready.is_empty() {
            self.start_queued();
        }
        self.complete_one()
    }

    fn poll(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        self.start_queued();
        if self.ready.is_empty() || lock(&self.shared).random.coin() {
            return Ok(None);
        }
        self.complete_one()
    }

    fn in_flight(&self) -> usize {
        self.queued.len() + self.ready.len()
    }

    fn reset(&mut self) -> Result<()> {
        self.recycle();
        for read in self.queued.drain(..).chain(self.ready.drain(..)) {
            self.buffers.give(read.buffer);
        }
        Ok(())
    }

    fn counters(&self) -> ReadCounters {
        self.counters
    }
}
