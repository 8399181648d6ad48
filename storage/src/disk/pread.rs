//! Batch reads without io_uring: a small pool of threads, each in a blocking `pread`.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::buffer::{AlignedBuf, BufferPool};
use crate::disk::read_file::{ReadFile, resume_at};
use crate::disk::{BatchReader, Completed, ReadCounters, ReadRange, Window, pick_file, refuse_submit};
use crate::error::Result;

/// Threads a pool starts at most. Disks here and in the cloud reach their full rate with 16 to 32 reads in flight.
const THREADS: usize = 16;

/// Threads that read, shared by all readers of a folder. They start when they are first needed, sleep when there is
/// nothing to read, and end with the pool.
#[derive(Debug, Default)]
pub(crate) struct PreadPool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    stop: bool,
}

/// One read, and where its outcome goes.
#[derive(Debug)]
struct Job {
    source: Arc<ReadFile>,
    tag: u64,
    range: ReadRange,
    buffer: AlignedBuf,
    reply: Sender<Done>,
}

#[derive(Debug)]
struct Done {
    tag: u64,
    range: ReadRange,
    buffer: AlignedBuf,
    outcome: Result<()>,
}

impl PreadPool {
    fn run(&self, batch: impl ExactSizeIterator<Item = Job>) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock();
        let idle = state.idle;
        let fresh = batch.len();
        state.jobs.extend(batch);
        let missing = state.jobs.len().saturating_sub(idle).min(THREADS - threads.len());
        drop(state);
        for _ in 0..missing {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("nearline-pread".into());
            match thread.spawn(move || shared.work()) {
                Ok(thread) => threads.push(thread),
                Err(_) => break,
            }
        }
        if threads.is_empty() {
            // The system gives us no thread at all: slow is better than never.
            self.shared.read_all_queued();
        } else if fresh >= THREADS {
            self.shared.wake.notify_all();
        } else {
            (0..fresh).for_each(|_| self.shared.wake.notify_one());
        }
    }
}

impl Drop for PreadPool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_all();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A thread that panicked has nothing more to tell here.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job.run();
                state = self.lock();
            } else if state.stop {
                return;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }

    fn read_all_queued(&self) {
        loop {
            let job = self.lock().jobs.pop_front();
            match job {
                Some(job) => job.run(),
                None => return,
            }
        }
    }
}

impl Job {
    fn run(mut self) {
        let outcome = self.read();
        let Self { tag, range, buffer, reply, .. } = self;
        // If the reader is gone, nobody misses the answer.
        let _ = reply.send(Done { tag, range, buffer, outcome });
    }

    fn read(&mut self) -> Result<()> {
        let mut filled = 0;
        loop {
            let at = self.range.offset + filled as u64;
            match self.source.file.read_at(&mut self.buffer[filled..self.range.bytes], at) {
                Ok(got) if filled + got == self.range.bytes => return Ok(()),
                Ok(got) => match resume_at(filled, got) {
                    Some(next) => filled = next,
                    None => return Err(self.source.too_short(self.range, filled + got)),
                },
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.source.failed(at, error)),
            }
        }
    }
}

/// A [`BatchReader`] that hands its reads to a [`PreadPool`].
#[derive(Debug)]
pub(crate) struct PreadReader {
    folder: PathBuf,
    files: Vec<Arc<ReadFile>>,
    pool: Arc<PreadPool>,
    buffers: BufferPool,
    queued: Vec<Job>,
    started: usize,
    reply: Sender<Done>,
    replies: Receiver<Done>,
    handed_out: Option<AlignedBuf>,
    counters: ReadCounters,
}

impl PreadReader {
    pub(crate) fn new(
        folder: PathBuf,
        files: Vec<Arc<ReadFile>>,
        window: Window,
        pool: Arc<PreadPool>,
    ) -> Self {
        let (reply, replies) = channel();
        Self {
            folder,
            files,
            pool,
            buffers: BufferPool::new(window),
            queued: Vec::new(),
            started: 0,
            reply,
            replies,
            handed_out: None,
            counters: ReadCounters::default(),
        }
    }

    fn start_queued(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        self.started += self.queued.len();
        self.counters.enters += 1;
        self.counters.reads += self.queued.len() as u64;
        self.counters.bytes += self.queued.iter().map(|job| job.range.bytes as u64).sum::<u64>();
        self.pool.run(self.queued.drain(..));
    }

    /// An outcome that is there already.
    fn ready_done(&mut self) -> Option<Done> {
        let done = self.replies.try_recv().ok()?;
        self.started -= 1;
        Some(done)
    }

    /// The next outcome: one that is there already, or else, with everything started, the first to come.
    fn next_done(&mut self) -> Option<Done> {
        if let Some(done) = self.ready_done() {
            return Some(done);
        }
        self.start_queued();
        if self.started == 0 {
            return None;
        }
        let done = self.replies.recv().ok()?;
        self.started -= 1;
        Some(done)
    }

    fn hand_out(&mut self, done: Option<Done>) -> Result<Option<Completed<'_>>> {
        let Some(Done { tag, range, buffer, outcome }) = done else { return Ok(None) };
        if let Err(error) = outcome {
            self.buffers.give(buffer);
            return Err(error);
        }
        let buffer = self.handed_out.insert(buffer);
        Ok(Some(Completed { tag, bytes: &buffer[..range.bytes] }))
    }

    fn recycle(&mut self) {
        if let Some(buffer) = self.handed_out.take() {
            self.buffers.give(buffer);
        }
    }
}

impl BatchReader for PreadReader {
    fn has_room(&self, range: ReadRange) -> bool {
        self.buffers.has_room_beside(range.bytes, self.handed_out.as_deref())
    }

    fn submit(&mut self, tag: u64, file: usize, range: ReadRange) -> Result<()> {
        self.recycle();
        let source = Arc::clone(pick_file(&self.files, file, &self.folder)?);
        refuse_submit(&source.path, range, self.buffers.has_room(range.bytes))?;
        let buffer = self.buffers.take(range.bytes);
        self.queued.push(Job { source, tag, range, buffer, reply: self.reply.clone() });
        Ok(())
    }

    fn wait(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        let done = self.next_done();
        self.hand_out(done)
    }

    fn poll(&mut self) -> Result<Option<Completed<'_>>> {
        self.recycle();
        self.start_queued();
        let done = self.ready_done();
        self.hand_out(done)
    }

    fn in_flight(&self) -> usize {
        self.queued.len() + self.started
    }

    fn reset(&mut self) -> Result<()> {
        self.recycle();
        for job in self.queued.drain(..) {
            self.buffers.give(job.buffer);
        }
        while let Some(done) = self.next_done() {
            self.buffers.give(done.buffer);
        }
        Ok(())
    }

    fn counters(&self) -> ReadCounters {
        self.counters
    }
}
