//! What clones of a space share: the space, and the threads that build an epoch and write files.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nearline_storage::StorageError;

use super::error::BehaviorError;
use super::manifest::Stage;
use super::record::Write;
use super::store::{Inner, locked};
use super::write::Outcome;
use super::{Behavior, SourceOffset};

/// How long a build, and the writing of files, waits after a disk failed.
const RETRY: Duration = Duration::from_secs(1);

/// The last of the clones to go stops the build, which goes on when the space is opened again.
#[derive(Debug)]
pub(crate) struct Handle {
    inner: Arc<Inner>,
    stopping: Arc<AtomicBool>,
    builders: Mutex<Vec<JoinHandle<()>>>,
    /// Writes files, if there is anything to write.
    filer: Mutex<Option<JoinHandle<()>>>,
    /// When files are tried again after they could not be written.
    retry: Arc<Mutex<Option<Instant>>>,
}

impl Handle {
    pub(crate) fn new(inner: Inner) -> Self {
        let (stopping, builders, filer, retry) = Default::default();
        Self { inner: Arc::new(inner), stopping, builders, filer, retry }
    }

    /// As [`Inner::append`]; then files are written if it is time to.
    pub(super) fn append(&self, behaviors: Vec<Behavior>, source: Option<SourceOffset>) -> Outcome {
        let done = self.inner.append(behaviors, source);
        self.file_when_due();
        done
    }

    /// As [`Inner::put_items`]; then files are written if it is time to.
    pub(super) fn put_items(&self, epoch: Option<u32>, items: &[u64], vectors: &[f32]) -> Outcome {
        let done = self.inner.put_items(epoch, items, vectors);
        self.file_when_due();
        done
    }

    /// As [`Inner::submit`]; then files are written if it is time to.
    pub(super) fn submit(&self, write: Write) -> Outcome {
        let done = self.inner.submit(write);
        self.file_when_due();
        done
    }

    /// Has files written, if it is time to, and waits while they are too far behind. What was written is safe in any case: if files
    /// cannot be, `stats` says why, and the next write has it tried again.
    fn file_when_due(&self) {
        if self.is_due.load(Ordering::Relaxed) && !(self.limits.aside && self.file_aside()) {
            let _ = self.flush();
        }
        if self.is_behind() {
            drop(locked(&self.filing));
        }
    }

    /// Has a thread write files, unless one does already, or they could not be written just now. False if there can be no thread.
    fn file_aside(&self) -> bool {
        let mut filer = locked(&self.filer);
        if locked(&self.retry).is_some_and(|retry| Instant::now() < retry) {
            return true;
        }
        if filer.as_ref().is_none_or(JoinHandle::is_finished) {
            let (inner, retry) = (Arc::clone(&self.inner), Arc::clone(&self.retry));
            let write = move || *locked(&retry) = inner.flush().err().map(|_| Instant::now() + RETRY);
            *filer = std::thread::Builder::new().name("nearline-files".to_owned()).spawn(write).ok();
        }
        filer.is_some()
    }

    /// Goes on with a build, if there is one.
    pub(crate) fn resume(&self) -> Result<(), StorageError> {
        if self.state().epochs.all.iter().any(|(_, stage)| matches!(stage, Stage::Building { .. })) {
            self.start()?;
        }
        Ok(())
    }

    /// Builds in the background whatever is to be built.
    pub(crate) fn start(&self) -> Result<(), StorageError> {
        let (inner, stopping) = (Arc::clone(&self.inner), Arc::clone(&self.stopping));
        let builder = std::thread::Builder::new().name("nearline-epoch".to_owned()).spawn(move || {
            nearline_storage::work_in_background();
            work(&inner, &stopping);
        });
        let builder = builder.map_err(|error| StorageError::io(self.disk.root(), "start a thread", error))?;
        let mut builders = locked(&self.builders);
        builders.retain(|builder| !builder.is_finished());
        builders.push(builder);
        Ok(())
    }
}

/// Builds until there is nothing left, or what is there cannot be built.
fn work(inner: &Inner, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Relaxed) {
        match inner.build_step() {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                *locked(&inner.build_error) = Some(error.to_string());
                if matches!(error, BehaviorError::UnknownItem { .. } | BehaviorError::Poisoned { .. }) {
                    return;
                }
                std::thread::park_timeout(RETRY);
            }
        }
    }
}

impl Deref for Handle {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let filer = locked(&self.filer).take();
        // A panic was reported where it happened.
        let _ = filer.map(JoinHandle::join);
        for builder in std::mem::take(&mut *locked(&self.builders)) {
            builder.thread().unpark();
            // A panic was reported where it happened.
            let _ = builder.join();
        }
    }
}
