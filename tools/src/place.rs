//! Where a database is made, and how to take it back.

use std::fs;
use std::path::{Path, PathBuf};

use nearline::Database;

/// A folder that may become a database.
pub(crate) struct Place {
    folder: PathBuf,
    /// Whether nothing was there, and whether there was an empty folder.
    was_missing: bool,
    was_empty: bool,
}

impl Place {
    /// Looks at a folder before a database is opened or made there.
    pub(crate) fn of(folder: &Path) -> Self {
        let was_missing = folder.symlink_metadata().is_err();
        let was_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        Self { folder: folder.to_owned(), was_missing, was_empty }
    }

    /// A name beside the folder that nobody else takes.
    fn aside(&self) -> Option<PathBuf> {
        let name = self.folder.file_name()?.to_string_lossy();
        Some(self.folder.with_file_name(format!(".{name}.{}.removed", std::process::id())))
    }
}

/// Closes a database, and removes it if it was made there just now and nothing is in it; nothing that was there before is
/// removed. What cannot be removed stays: there is another error to be told.
///
/// Others who wait for the lock make a database at the same place as soon as it is free: nothing may be removed from there then.
pub(crate) fn close_and_clear(database: Database, place: Place) {
    let is_bare = database.collections().is_empty()
        && database.behavior_spaces().is_empty()
        && database.embedding_tables().is_empty();
    let aside = if place.was_missing { place.aside() } else { None };
    if !is_bare {
        return;
    }
    if let Some(aside) = aside {
        let is_aside = fs::rename(&place.folder, &aside).is_ok();
        drop(database);
        if is_aside {
            let _ = fs::remove_dir_all(aside);
        }
    } else if place.was_empty {
        // It may be where a file system is mounted, and cannot be renamed.
        empty(&place.folder);
    }
}

/// Removes all that is in a folder. Its lock goes last, for without it others may come in.
fn empty(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort_by_key(|path| path.ends_with(LOCK));
    for path in paths {
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

/// The file of a database that is locked.
const LOCK: &str = "LOCK";

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn open(folder: &Path) -> Result<Database, nearline::OpenError> {
        Database::builder(folder).memory_budget(16 << 20).open()
    }

    /// Opens a database as soon as that can be, and makes something there.
    fn intrude(folder: &Path, tried: &mpsc::Sender<()>) {
        loop {
            let opened = open(folder);
            let _ = tried.send(()); // nobody listens after the first
            if let Ok(database) = opened {
                database.create_behavior_space("mine", nearline::BehaviorOptions::new(2)).unwrap();
                return;
            }
        }
    }

    #[test]
    fn who_waits_for_the_lock_loses_nothing() {
        let root = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let folder = root.path().join(round.to_string());
            if round % 2 == 0 {
                fs::create_dir(&folder).unwrap();
            }
            let place = Place::of(&folder);
            let database = open(&folder).unwrap();
            let (tried, first) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(|| intrude(&folder, &tried));
                first.recv().unwrap();
                close_and_clear(database, place);
            });
            assert_eq!(open(&folder).unwrap().behavior_spaces(), ["mine"], "round {round}");
        }
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 20, "nothing is left aside");
    }

    #[test]
    fn what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("db");
        let place = Place::of(&folder);
        close_and_clear(open(&folder).unwrap(), place);
        assert!(!folder.exists());
        drop(open(&folder).unwrap());
        let place = Place::of(&folder);
        close_and_clear(open(&folder).unwrap(), place);
        assert!(Database::is_in(&folder));
    }
}
