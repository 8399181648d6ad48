//! The ring itself: which thread may use it, and when the kernel is entered.

use std::io;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use io_uring::{IoUring, SubmissionQueue, cqueue};
use rustix::io::Errno;

/// How long a kernel without resources for us is asked again, and how long to sleep in between.
const PATIENCE: Duration = Duration::from_secs(5);
const NAP: Duration = Duration::from_micros(50);

pub(super) struct Ring {
    ring: IoUring,
    /// Reads pushed and not yet reaped.
    pub(super) inside: usize,
    /// The only thread that may use the ring, if it was set up for one.
    owner: Option<ThreadId>,
}

impl Ring {
    /// A ring that defers its work to the one thread that enters for it, where the kernel knows how, and that says
    /// so in shared memory when there is such work.
    pub(super) fn for_this_thread(entries: u32) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        match builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().build(entries) {
            Ok(ring) => Ok(Self { ring, inside: 0, owner: Some(std::thread::current().id()) }),
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                Self::for_any_thread(entries)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn for_any_thread(entries: u32) -> io::Result<Self> {
        Ok(Self { ring: IoUring::new(entries)?, inside: 0, owner: None })
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.owner.is_some_and(|owner| owner != std::thread::current().id())
    }

    /// Where reads are pushed; count them in `inside`.
    pub(super) fn queue(&mut self) -> SubmissionQueue<'_> {
        self.ring.submission()
    }

    pub(super) fn pop(&mut self) -> Option<cqueue::Entry> {
        let entry = self.ring.completion().next()?;
        self.inside -= 1;
        Some(entry)
    }

    /// Enters the kernel: starts what was pushed and waits for `want` completions. Returns how often it took.
    pub(super) fn enter(&mut self, want: usize) -> (u64, io::Result<()>) {
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

    /// Enters the kernel without waiting, and only if reads were pushed that it has not taken yet, or the queue of
    /// completions is empty and it has some to put there. Returns how often it took.
    pub(super) fn enter_without_waiting(&mut self) -> (u64, io::Result<()>) {
        let queue = self.ring.submission();
        let (pushed, held_back) = (!queue.is_empty(), queue.taskrun() || queue.cq_overflow());
        drop(queue);
        let useful = pushed || (held_back && self.ring.completion().is_empty());
        if !useful {
            return (0, Ok(()));
        }
        match self.ring.submit() {
            Ok(_) => (1, Ok(())),
            Err(error) => match Errno::from_io_error(&error) {
                // The next enter makes up for it; those that wait know patience.
                Some(Errno::INTR | Errno::AGAIN | Errno::BUSY) => (1, Ok(())),
                _ => (1, Err(error)),
            },
        }
    }
}
