//! Batch reads through io_uring.
//!
//! A reader owns a ring, created on the thread that first waits. Buffers belong to slots; a slot gives its buffer
//! up only when the kernel has said it is done with it. If that cannot be learned any more, the buffer is leaked
//! rather than freed under the kernel's hands.
#![expect(
    unsafe_code,
    reason = "the kernel writes into buffers whose lifetime only this module can vouch for"
)]

mod ring;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use io_uring::{cqueue, opcode, types};
use ring::Ring;
use rustix::io::Errno;

use crate::buffer::{AlignedBuf, BufferPool};
use crate::disk::read_file::{ReadFile, resume_at};
use crate::disk::{BatchReader, Completed, ReadCounters, ReadRange, Window, pick_file, refuse_submit};
use crate::error::{Result, StorageError};

/// Reads inside the kernel at most, whatever the window allows; the others wait in our own queue.
const MAX_ENTRIES: usize = 1024;
/// How often a read that the kernel gave up for no fault of the disk is started again.
const MAX_RESTARTS: u8 = 100;

/// A [`BatchReader`] over io_uring. The files are open with `O_DIRECT`.
pub(crate) struct UringReader {
    folder: PathBuf,
    files: Vec<Arc<ReadFile>>,
    entries: u32,
    buffers: BufferPool,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots whose read has yet to enter the kernel.
    queued: VecDeque<usize>,
    ring: Option<Ring>,
    handed_out: Option<AlignedBuf>,
    counters: ReadCounters,
}

/// A place for a read in flight. The generation tells its completion from those of earlier reads in it.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    read: Option<Read>,
}

#[derive(Debug)]
struct Read {
    tag: u64,
    /// An index into the files of the reader, checked when the read was submitted.
    file: usize,
    range: ReadRange,
    buffer: AlignedBuf,
    filled: usize,
    restarts: u8,
    counted: bool,
}

impl UringReader {
    pub(crate) fn new(folder: PathBuf, files: Vec<Arc<ReadFile>>, window: Window) -> Self {
        Self {
            folder,
            files,
            entries: window.reads.clamp(1, MAX_ENTRIES).next_power_of_two() as u32,
            buffers: BufferPool::new(window),
            slots: Vec::new(),
            free: Vec::new(),
            queued: VecDeque::new(),
            ring: None,
            handed_out: None,
            counters: ReadCounters::default(),
        }
    }

    /// The ring, fit for this thread.
    ///
    /// A ring made for one thread is useless on another, so after a move it is replaced, once and for all, by one
    /// that any thread may use.
    fn ring(&mut self) -> Result<&mut Ring> {
        let made = match &self.ring {
            None => Some(Ring::for_this_thread(self.entries)),
            Some(ring) if ring.is_foreign() => Some(Ring::for_any_thread(self.entries)),
            Some(_) => None,
        };
        if let Some(made) = made {
            let made = made.map_err(|error| StorageError::io(&self.folder, "set up io_uring", error))?;
            self.leave_ring();
            self.ring = Some(made);
        }
        match &mut self.ring {
            Some(ring) => Ok(ring),
            None => Err(StorageError::io(&self.folder, "set up io_uring", io::ErrorKind::Other.into())),
        }
    }

    /// Gives the ring up. Reads inside it start again in new buffers: we shall never learn when the kernel is done
    /// with the old ones, so they are leaked. A reader that is idle when it changes threads loses nothing.
    fn leave_ring(&mut self) {
        if self.ring.take().is_none_or(|ring| ring.inside == 0) {
            return;
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(read) = slot.read.as_mut().filter(|_| !self.queued.contains(&index)) else { continue };
            self.buffers.write_off(read.range.bytes);
            let fresh = self.buffers.take(read.range.bytes);
            std::mem::forget(std::mem::replace(&mut read.buffer, fresh));
            read.filled = 0;
            slot.generation = slot.generation.wrapping_add(1);
            self.queued.push_back(index);
        }
    }

    /// Moves queued reads into the submission queue, as far as it goes.
    fn push_queued(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        while ring.inside < self.entries as usize {
            let Some(index) = self.queued.pop_front() else { return };
            let slot = &mut self.slots[index];
            let Some(read) = &mut slot.read else { continue };
            let rest = &mut read.buffer[read.filled..read.range.bytes];
            let fd = types::Fd(self.files[read.file].file.as_raw_fd());
            let entry = opcode::Read::new(fd, rest.as_mut_ptr(), rest.len() as u32)
                .offset(read.range.offset + read.filled as u64)
                .build()
                .user_data(u64::from(slot.generation) << 32 | index as u64);
            // SAFETY: the buffer belongs to the slot and is neither freed nor handed out before the completion
            // with this slot and generation has been reaped, or is leaked; the file outlives the reads, which
            // hold it open in the kernel.
            let pushed = unsafe { ring.queue().push(&entry) };
            if pushed.is_err() {
                self.queued.push_front(index);
                return;
            }
            ring.inside += 1;
            if !std::mem::replace(&mut read.counted, true) {
                self.counters.reads += 1;
                self.counters.bytes += read.range.bytes as u64;
            }
        }
    }

    /// Enters the kernel once, to start what is queued and to wait for half of what is then in flight: enough to
    /// score while the rest is read, and few system calls.
    fn enter(&mut self) -> Result<()> {
        self.ring()?;
        self.push_queued();
        let ring = self.ring()?;
        let want = (ring.inside / 2).max(1);
        self.enter_for(want)
    }

    fn enter_for(&mut self, want: usize) -> Result<()> {
        let entered = self.ring()?.enter(want);
        self.count_enters(entered)
    }

    /// As [`UringReader::enter`], if that is of any use, without waiting.
    fn enter_without_waiting(&mut self) -> Result<()> {
        self.ring()?;
        self.push_queued();
        let entered = self.ring()?.enter_without_waiting();
        self.count_enters(entered)
    }

    fn count_enters(&mut self, (enters, outcome): (u64, io::Result<()>)) -> Result<()> {
        self.counters.enters += enters;
        outcome.map_err(|error| StorageError::io(&self.folder, "wait for reads", error))
    }

    /// Takes a completion in: the whole read, if that is what it completes.
    fn complete(&mut self, entry: &cqueue::Entry) -> Result<Option<Read>> {
        let (index, generation) = (entry.user_data() as u32 as usize, (entry.user_data() >> 32) as u32);
        let known = self.slots.get_mut(index).filter(|slot| slot.generation == generation);
        let Some(read) = known.and_then(|slot| slot.read.as_mut()) else { return Ok(None) };
        let (source, at) = (&self.files[read.file], read.range.offset + read.filled as u64);
        let next = match usize::try_from(entry.result()) {
            Ok(got) if read.filled + got >= read.range.bytes => return Ok(self.release(index)),
            Ok(got) => {
                resume_at(read.filled, got).ok_or_else(|| source.too_short(read.range, read.filled + got))
            }
            Err(_) => restart(read, entry.result()).map_err(|error| source.failed(at, error)),
        };
        match next {
            Ok(filled) => {
                read.filled = filled;
                self.queued.push_front(index);
                Ok(None)
            }
            Err(error) => {
                self.discard(index);
                Err(error)
            }
        }
    }

    /// Empties a slot whose read is over.
    fn release(&mut self, index: usize) -> Option<Read> {
        let slot = self.slots.get_mut(index)?;
        slot.generation = slot.generation.wrapping_add(1);
        let read = slot.read.take()?;
        self.free.push(index);
        Some(read)
    }

    fn discard(&mut self, index: usize) {
        if let Some(read) = self.release(index) {
            self.buffers.give(read.buffer);
        }
    }

    fn recycle(&mut self) {
        if let Some(buffer) = self.handed_out.take() {
            self.buffers.give(buffer);
        }
    }

    /// The next whole read, or `None` when nothing is in flight.
    fn next_done(&mut self) -> Result<Option<Read>> {
        loop {
            while let Some(entry) = self.ring.as_mut().filter(|ring| !ring.is_foreign()).and_then(Ring::pop) {
                if let Some(read) = self.complete(&entry)? {
                    return Ok(Some(read));
                }
            }
            if self.in_flight() == 0 {
                return Ok(None);
            }
            self.enter()?;
        }
    }

    /// A whole read that is there already, with everything started.
    fn ready_done(&mut self) -> Result<Option<Read>> {
        while self.in_flight() > 0 {
            self.enter_without_waiting()?;
            let Some(entry) = self.ring()?.pop() else { break };
            if let Some(read) = self.complete(&entry)? {
                return Ok(Some(read));
            }
        }
        Ok(None)
    }

    fn hand_out(&mut self, done: Option<Read>) -> Option<Completed<'_>> {
        let Read { tag, range, buffer, .. } = done?;
        let buffer = self.handed_out.insert(buffer);
        Some(Completed { tag, bytes: &buffer[..range.bytes] })
    }

    /// Waits until the kernel holds none of our buffers, and throws all reads away.
    fn drain(&mut self) -> Result<()> {
        if self.ring.is_some() {
            self.ring()?;
        }
        while let Some(index) = self.queued.pop_front() {
            self.discard(index);
        }
        while let Some(ring) = self.ring.as_mut().filter(|ring| ring.inside > 0) {
            match ring.pop() {
                Some(entry) => self.discard(entry.user_data() as u32 as usize),
                None => {
                    let all = ring.inside;
                    self.enter_for(all)?;
                }
            }
        }
        Ok(())
    }
}

/// Where to go on with a read that failed with `result`, a negated errno, if that was no fault of the disk.
fn restart(read: &mut Read, result: i32) -> io::Result<usize> {
    let error = io::Error::from_raw_os_error(-result);
    let harmless = matches!(Errno::from_io_error(&error), Some(Errno::INTR | Errno::AGAIN | Errno::CANCELED));
    if !harmless || read.restarts == MAX_RESTARTS {
        return Err(error);
    }
    read.restarts += 1;
    Ok(read.filled)
}

impl BatchReader for UringReader {
    fn has_room(&self, range: ReadRange) -> bool {
        self.buffers.has_room_beside(range.bytes, self.handed_out.as_deref())
    }

    fn submit(&mut self, tag: u64, file: usize, range: ReadRange) -> Result<()> {
        self.recycle();
        let source = pick_file(&self.files, file, &self.folder)?;
        refuse_submit(&source.path, range, self.buffers.has_room(range.bytes))?;
        let buffer = self.buffers.take(range.bytes);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let read = Read { tag, file, range, buffer, filled: 0, restarts: 0, counted: false };
        self.slots[index].read = Some(read);
        self.queued.push_back(index);
        Ok(())
    }

    fn wait(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        let done = self.next_done()?;
        Ok(self.hand_out(done))
    }

    fn poll(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        let done = self.ready_done()?;
        Ok(self.hand_out(done))
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn reset(&mut self) -> Result<()> {
        self.recycle();
        self.drain()
    }

    fn counters(&self) -> ReadCounters {
        self.counters
    }
}

impl Drop for UringReader {
    fn drop(&mut self) {
        let foreign = self.ring.as_ref().is_some_and(Ring::is_foreign);
        if !foreign && self.drain().is_ok() {
            return;
        }
        // The kernel may still write into these buffers.
        if self.ring.as_ref().is_some_and(|ring| ring.inside > 0) {
            self.slots.drain(..).filter_map(|slot| slot.read).for_each(|read| std::mem::forget(read.buffer));
        }
    }
}
