//! What the live tier asks of sled. Whatever goes wrong in there, panics included, comes out as an error.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::TierError;
use super::entry::{KEY_BYTES, STAMP_KEY};

/// How long anybody waits for sled to let go of its files.
const CLOSING: Duration = Duration::from_secs(2);
/// How often, and how long each time, to wait for the lock of somebody who is just closing.
const LOCK_TRIES: usize = 20;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// An ordered store in a folder of its own.
#[derive(Debug)]
pub(super) struct Store {
    db: Option<sled::Db>,
    folder: PathBuf,
}

impl Store {
    /// Opens the store in a folder, or makes an empty one. It can take seconds.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, TierError> {
        let config = || {
            #[cfg(test)]
            assert!(!folder.join(tests::PANIC).exists(), "planted");
            let config = sled::Config::new().path(folder).cache_capacity(cache_bytes);
            // Nothing is written unless it is asked for.
            config.mode(sled::Mode::HighThroughput).flush_every_ms(None).open()
        };
        let mut opened = contained("open", config);
        for _ in 0..LOCK_TRIES {
            if !opened.as_ref().is_err_and(|error| error.why.contains("could not acquire lock")) {
                break;
            }
            std::thread::sleep(LOCK_WAIT);
            opened = contained("open", config);
        }
        Ok(Self { db: Some(opened?), folder: folder.to_owned() })
    }

    fn db(&self) -> sled::Result<&sled::Db> {
        self.db.as_ref().ok_or_else(|| sled::Error::Unsupported("the store is closed".to_owned()))
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, TierError> {
        contained("look up", || self.db()?.get(key))
    }

    /// Gives a key a value, and returns the one it had.
    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<Option<sled::IVec>, TierError> {
        contained("put", || self.db()?.insert(key, value))
    }

    /// Goes through all entries but the stamp.
    pub(super) fn for_each(
        &self,
        mut act: impl FnMut(&[u8], &[u8]) -> Result<(), TierError>,
    ) -> Result<(), TierError> {
        let mut entries = contained("go through", || Ok(self.db()?.iter()))?;
        while let Some((key, value)) = contained("go through", || entries.next().transpose())? {
            if key[..] != STAMP_KEY[..] {
                act(&key, &value)?;
            }
        }
        Ok(())
    }

    /// Makes all that was put survive a crash. Flushing does not: it starts the writes, and waits for them, but leaves
    /// sizes and places of files to chance.
    pub(super) fn sync(&self) -> Result<(), TierError> {
        contained("flush", || self.db()?.flush())?;
        sync_files(&self.folder).map_err(|error| TierError::new("sync", error))
    }

    /// Lets go of the files. If that takes too long it goes on without the caller.
    pub(super) fn close(mut self) {
        self.let_go();
    }

    fn let_go(&mut self) {
        let Some(db) = self.db.take() else { return };
        let (done, wait) = mpsc::channel();
        let closing = std::thread::Builder::new().name("nearline-tier-close".to_owned()).spawn(move || {
            // What is not written is rebuilt.
            let _ = contained("close", || {
                drop(db);
                Ok(())
            });
            let _ = done.send(());
        });
        if closing.is_ok() {
            let _ = wait.recv_timeout(CLOSING);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The lengths of keys tell entries from the stamp.
const _: () = assert!(STAMP_KEY.len() != KEY_BYTES);

/// Syncs every file of a folder, those in its folders, and their names.
pub(super) fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_files(&path)? } else { File::open(&path)?.sync_all()? }
    }
    File::open(folder)?.sync_all()
}

/// Does something with sled. A panic is an error like any other.
fn contained<T>(what: &'static str, act: impl FnOnce() -> sled::Result<T>) -> Result<T, TierError> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => done.map_err(|error| TierError::new(what, error)),
        Err(panic) => Err(TierError::new(what, format_args!("panic: {}", message(panic.as_ref())))),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no text")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file in a folder that makes opening it panic.
    pub(crate) const PANIC: &str = "panic";

    #[test]
    fn damaged_files_are_errors_whatever_happens_inside() {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("live");
        let store = Store::open(&live, 1 << 20).unwrap();
        for key in 0..3_000u64 {
            store.put(&key.to_be_bytes(), &[7; 8]).unwrap();
        }
        store.sync().unwrap();
        store.close();
        // Opening once more makes it write beside its log what is in there.
        Store::open(&live, 1 << 20).unwrap().close();
        let whole = tempfile::tempdir().unwrap();
        copy(&live, whole.path());
        let log = fs::read(live.join("db")).unwrap();
        let mut errors = Vec::new();
        for cut in 0..24 {
            fs::remove_dir_all(&live).unwrap();
            copy(whole.path(), &live);
            let mut damaged = log.clone();
            match cut % 3 {
                0 => damaged.truncate(log.len() * cut / 24),
                1 => damaged[log.len() * cut / 24..].fill(0),
                _ => damaged[..log.len() * cut / 24].fill(0),
            }
            fs::write(live.join("db"), damaged).unwrap();
            let opened = Store::open(&live, 1 << 20).and_then(|store| {
                let mut count = 0;
                store.for_each(|_, _| {
                    count += 1;
                    Ok(())
                })?;
                store.put(b"k", b"v")?;
                store.sync()?;
                Ok(count)
            });
            match opened {
                Ok(count) => assert!(count <= 3_000),
                Err(error) => errors.push(format!("{cut}: {error}")),
            }
        }
        assert!(errors.len() > 6, "{errors:?}");
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to.join("blobs")).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let panics = |text: String| contained::<()>("open", move || panic!("{text}"));
        let error = panics("torn".to_owned()).unwrap_err();
        assert_eq!(error.to_string(), "live tier: open: panic: torn");
        assert_eq!(contained("open", || Ok(7)).unwrap(), 7);
    }
}
