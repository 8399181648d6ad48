//! Batch reads through io_uring.
//!
//! A reader owns a ring, created on the thread that first waits. Buffers belong to slots; a slot gives its buffer
//! up only when the kernel has said it is done with it. If that cannot be learned any more, the buffer is leaked
//! rather than freed under the kernel's hands.
#![expect(
    unsafe_code,
    reason = "the kernel writes into buffers whose lifetime only this module can vouch for"
)]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, types};
use rustix::io::Errno;

use crate::buffer::{AlignedBuf, BufferPool};
use crate::disk::pread::{resume_at, too_short};
use crate::disk::{BatchReader, Completed, ReadCounters, ReadRange, Window, refuse_submit};
use crate::error::{Result, StorageError};

/// Reads inside the kernel at most, whatever the window allows; the others wait in our own queue.
const MAX_ENTRIES: usize = 1024;
/// How often a read that the kernel gave up for no fault of the disk is started again.
const MAX_RESTARTS: u8 = 100;
/// How long a kernel without resources for us is asked again, and how long to sleep in between.
const PATIENCE: Duration = Duration::from_secs(5);
const NAP: Duration = Duration::from_micros(50);

/// A [`BatchReader`] over io_uring. The file is open with `O_DIRECT`.
pub(crate) struct UringReader {
    file: Arc<File>,
    path: PathBuf,
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
    tag: usize,
    range: ReadRange,
    buffer: AlignedBuf,
    filled: usize,
    restarts: u8,
    counted: bool,
}

struct Ring {
    ring: IoUring,
    /// Reads pushed and not yet reaped.
    inside: usize,
    /// The only thread that may use the ring, if it was set up for one.
    owner: Option<ThreadId>,
}

impl Ring {
    /// A ring that defers its work to the one thread that waits for it, where the kernel knows how.
    fn for_this_thread(entries: u32) -> io::Result<Self> {
        match IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(entries) {
            Ok(ring) => Ok(Self { ring, inside: 0, owner: Some(std::thread::current().id()) }),
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                Self::for_any_thread(entries)
            }
            Err(error) => Err(error),
        }
    }

    fn for_any_thread(entries: u32) -> io::Result<Self> {
        Ok(Self { ring: IoUring::new(entries)?, inside: 0, owner: None })
    }

    fn is_foreign(&self) -> bool {
        self.owner.is_some_and(|owner| owner != std::thread::current().id())
    }

    fn pop(&mut self) -> Option<cqueue::Entry> {
        let entry = self.ring.completion().next()?;
        self.inside -= 1;
        Some(entry)
    }

    /// Enters the kernel: starts what was pushed and waits for `want` completions. Returns how often it took.
    fn enter(&mut self, want: usize) -> (u64, io::Result<()>) {
        let mut enters = 0;
        let mut since = None;
        loop {
            // At most `entries` reads are inside and the completion queue has twice that room. Should it overflow
            // all the same, one enter without waiting moves the surplus into the queue.
            let want = if self.ring.submission().cq_overflow() { 0 } else { want };
            enters += 1;
            let Err(error) = self.ring.submit_and_wait(want) else { return (enters, Ok(())) };
            match Errno::from_io_error(&error) {
                Some(Errno::INTR) => {}
                Some(Errno::AGAIN | Errno::BUSY) => {
                    if !self.ring.completion().is_empty() {
                        return (enters, Ok(()));
                    }
                    if since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        return (enters, Err(error));
                    }
                    std::thread::sleep(NAP);
                }
                _ => return (enters, Err(error)),
            }
        }
    }
}

impl UringReader {
    pub(crate) fn new(file: Arc<File>, path: &Path, window: Window) -> Self {
        Self {
            file,
            path: path.to_path_buf(),
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
            let made = made.map_err(|error| StorageError::io(&self.path, "set up io_uring", error))?;
            self.leave_ring();
            self.ring = Some(made);
        }
        match &mut self.ring {
            Some(ring) => Ok(ring),
            None => Err(StorageError::io(&self.path, "set up io_uring", io::ErrorKind::Other.into())),
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
            let entry =
                opcode::Read::new(types::Fd(self.file.as_raw_fd()), rest.as_mut_ptr(), rest.len() as u32)
                    .offset(read.range.offset + read.filled as u64)
                    .build()
                    .user_data(u64::from(slot.generation) << 32 | index as u64);
            // SAFETY: the buffer belongs to the slot and is neither freed nor handed out before the completion
            // with this slot and generation has been reaped, or is leaked; the file outlives the reads, which
            // hold it open in the kernel.
            let pushed = unsafe { ring.ring.submission().push(&entry) };
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
        let (enters, outcome) = self.ring()?.enter(want);
        self.counters.enters += enters;
        outcome.map_err(|error| StorageError::io(&self.path, "wait for reads", error))
    }

    /// Takes a completion in: the whole read, if that is what it completes.
    fn complete(&mut self, entry: &cqueue::Entry) -> Result<Option<Read>> {
        let (index, generation) = (entry.user_data() as u32 as usize, (entry.user_data() >> 32) as u32);
        let known = self.slots.get_mut(index).filter(|slot| slot.generation == generation);
        let Some(read) = known.and_then(|slot| slot.read.as_mut()) else { return Ok(None) };
        let at = read.range.offset + read.filled as u64;
        let next = match usize::try_from(entry.result()) {
            Ok(got) if read.filled + got >= read.range.bytes => return Ok(self.release(index)),
            Ok(got) => resume_at(read.filled, got)
                .ok_or_else(|| too_short(&self.file, &self.path, read.range, read.filled + got)),
            Err(_) => restart(read, entry.result())
                .map_err(|error| StorageError::io_at(&self.path, "read", at, error)),
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
            if self.free.len() == self.slots.len() {
                return Ok(None);
            }
            self.enter()?;
        }
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

    fn submit(&mut self, tag: usize, range: ReadRange) -> Result<()> {
        self.recycle();
        refuse_submit(&self.path, range, self.buffers.has_room(range.bytes))?;
        let buffer = self.buffers.take(range.bytes);
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[index].read = Some(Read { tag, range, buffer, filled: 0, restarts: 0, counted: false });
        self.queued.push_back(index);
        Ok(())
    }

    fn wait(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        let Some(Read { tag, range, buffer, .. }) = self.next_done()? else { return Ok(None) };
        let buffer = self.handed_out.insert(buffer);
        Ok(Some(Completed { tag, bytes: &buffer[..range.bytes] }))
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
