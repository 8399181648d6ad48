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

    /// Takes away what was made here while the database is open, and so locked. A folder that was made gets another name, which
    /// nobody else takes, and is to be removed there; one that was empty may be where a file system is mounted, and is emptied.
    fn clear(&self, _locked: &Database) -> Option<PathBuf> {
        if self.was_missing {
            let name = self.folder.file_name()?.to_string_lossy();
            let aside = self.folder.with_file_name(format!(".{name}.{}.removed", std::process::id()));
            return fs::rename(&self.folder, &aside).is_ok().then_some(aside);
        }
        if self.was_empty {
            empty(&self.folder);
        }
        None
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
    let aside = if is_bare { place.clear(&database) } else { None };
    drop(database);
    if let Some(aside) = aside {
        let _ = fs::remove_dir_all(aside);
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
    use super::*;

    fn open(folder: &Path) -> Result<Database, nearline::OpenError> {
        Database::builder(folder).memory_budget(16 << 20).open()
    }

    #[test]
    fn what_was_made_is_away_before_the_lock_is() {
        let root = tempfile::tempdir().unwrap();
        for was_empty in [false, true] {
            let folder = root.path().join(was_empty.to_string());
            if was_empty {
                fs::create_dir(&folder).unwrap();
            }
            let place = Place::of(&folder);
            let database = open(&folder).unwrap();
            assert_eq!(place.clear(&database).is_some(), !was_empty);
            assert!(!Database::is_in(&folder));
            // The first is still open: another can be made here, and its end does it no harm.
            let other = open(&folder).unwrap();
            drop(database);
            assert!(other.behavior_spaces().is_empty() && Database::is_in(&folder));
        }
    }

    #[test]
    fn what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("db");
        let place = Place::of(&folder);
        close_and_clear(open(&folder).unwrap(), place);
        assert!(fs::read_dir(root.path()).unwrap().next().is_none(), "nor is anything left aside");
        drop(open(&folder).unwrap());
        let place = Place::of(&folder);
        close_and_clear(open(&folder).unwrap(), place);
        assert!(Database::is_in(&folder));
    }
}
