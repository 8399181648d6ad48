//! A space that was opened or made, and how to unmake it.

use std::fs;
use std::path::{Path, PathBuf};

use nearline::{BehaviorSpace, Database};

/// A folder that may become a database.
pub(super) struct Place {
    folder: PathBuf,
    /// Whether nothing was there, and whether there was an empty folder.
    was_missing: bool,
    was_empty: bool,
}

impl Place {
    /// Looks at a folder before a database is opened or made there.
    pub(super) fn of(folder: &Path) -> Self {
        let was_missing = folder.symlink_metadata().is_err();
        let was_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        Self { folder: folder.to_owned(), was_missing, was_empty }
    }

    /// Removes the database that was made there since, and nothing that was there before. It must be closed. What cannot be
    /// removed stays: there is another error to be told.
    fn clear(self) {
        if self.was_missing {
            let _ = fs::remove_dir_all(&self.folder);
        } else if self.was_empty {
            for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
    }
}

/// Closes a database, and removes it if it was made just now and nothing is in it.
pub(super) fn close_and_clear(database: Database, place: Place) {
    let is_bare = database.collections().is_empty()
        && database.behavior_spaces().is_empty()
        && database.embedding_tables().is_empty();
    drop(database);
    if is_bare {
        place.clear();
    }
}

/// An open space, and what of it is new.
pub(super) struct Made {
    pub(super) space: BehaviorSpace,
    pub(super) database: Database,
    pub(super) name: String,
    /// Whether the space was made, and not only opened.
    pub(super) is_new: bool,
    pub(super) place: Place,
}

impl Made {
    /// Takes back what was made: a command that failed leaves nothing that stands in the way of the next attempt.
    pub(super) fn undo(self) {
        drop(self.space);
        if self.is_new {
            let _ = self.database.drop_behavior_space(&self.name); // there is another error to be told
        }
        close_and_clear(self.database, self.place);
    }
}
