//! What clones of a space share: the space, and the thread that builds an epoch.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nearline_storage::StorageError;

use super::error::BehaviorError;
use super::manifest::Stage;
use super::store::{Inner, locked};

/// How long a build waits after a disk failed.
const RETRY: Duration = Duration::from_secs(1);

/// The last of the clones to go stops the build, which goes on when the space is opened again.
#[derive(Debug)]
pub(crate) struct Handle {
    inner: Arc<Inner>,
    stopping: Arc<AtomicBool>,
    builders: Mutex<Vec<JoinHandle<()>>>,
}

impl Handle {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), stopping: Arc::default(), builders: Mutex::default() }
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
        for builder in std::mem::take(&mut *locked(&self.builders)) {
            builder.thread().unpark();
            // A panic was reported where it happened.
            let _ = builder.join();
        }
    }
}
