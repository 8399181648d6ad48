//! Folders as a whole: filled with links, renamed, removed, and made to survive a crash.
//!
//! What changes names outside of a [`Disk`](nearline_storage::Disk) goes through here, so that a test can let the power go at
//! each of the steps.

#[cfg(test)]
pub(crate) mod journal;

use std::fs;
use std::io;
use std::path::Path;

use nearline_storage::StorageError;

/// Makes an empty folder.
pub(crate) fn make(folder: &Path) -> Result<(), StorageError> {
    step(|| fs::create_dir(folder)).map_err(|error| StorageError::io(folder, "make a folder", error))?;
    made(folder);
    Ok(())
}

/// Makes a folder that somebody else fills.
pub(crate) fn make_by<E: From<StorageError>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    make(folder)?;
    let filled = fill(folder);
    filled_by_others(folder);
    filled
}

/// Makes a folder of links, in place of what an earlier attempt left.
pub(crate) fn fill(from: &Path, files: &[String], draft: &Path) -> Result<(), StorageError> {
    clear(draft)?;
    if let Some(parent) = draft.parent().filter(|parent| !parent.exists()) {
        make(parent)?;
    }
    make(draft)?;
    files.iter().try_for_each(|file| link(&from.join(file), &draft.join(file)))?;
    sync(draft)
}

/// Makes a folder that has the files of another, by links where that is possible.
pub(crate) fn link_all(from: &Path, to: &Path) -> Result<(), StorageError> {
    fill(from, &names_in(from)?, to)
}

/// A second name for a file, or a copy where the file system knows no such thing.
pub(crate) fn link(from: &Path, to: &Path) -> Result<(), StorageError> {
    let linked = step(|| {
        fs::hard_link(from, to).or_else(|_| {
            fs::copy(from, to)?;
            fs::File::open(to)?.sync_all()
        })
    });
    linked.map_err(|error| StorageError::io(to, "link", error))?;
    made(to);
    Ok(())
}

/// Gives a folder another name, in the folder where it is.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StorageError> {
    step(|| fs::rename(from, to)).map_err(|error| StorageError::io(to, "rename", error))?;
    renamed(from, to);
    Ok(())
}

/// Removes a folder with all there is in it.
pub(crate) fn remove(folder: &Path) -> Result<(), StorageError> {
    step(|| remove_all(folder)).map_err(|error| StorageError::io(folder, "remove", error))
}

/// Removes what an earlier attempt left.
pub(crate) fn clear(draft: &Path) -> Result<(), StorageError> {
    if draft.exists() { remove(draft) } else { Ok(()) }
}

/// Makes the names in a folder survive a crash.
pub(crate) fn sync(folder: &Path) -> Result<(), StorageError> {
    let synced = step(|| fs::File::open(folder).and_then(|folder| folder.sync_all()));
    synced.map_err(|error| StorageError::io(folder, "sync", error))?;
    names_synced(folder);
    Ok(())
}

/// Makes the bytes of all files in a folder survive a crash.
pub(crate) fn sync_files(folder: &Path) -> Result<(), StorageError> {
    let failed = |error| StorageError::io(folder, "sync", error);
    let sync = |name: &String| fs::File::open(folder.join(name)).and_then(|file| file.sync_all());
    let names = names_in(folder)?;
    step(|| names.iter().try_for_each(sync)).map_err(failed)?;
    files_synced(folder);
    Ok(())
}

/// Replaces a small file in a folder, durably: with it, the names in the folder survive a crash.
pub(crate) fn replace_in(
    folder: &Path,
    write: impl FnOnce() -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let failed = |error| StorageError::io(folder, "replace a file", error);
    step(|| Ok(())).map_err(failed)?;
    write()?;
    replaced(folder);
    // Written, and nobody was told.
    step(|| Ok(())).map_err(failed)
}

/// The names in a folder, sorted; none if there is no such folder.
pub(crate) fn names_in(folder: &Path) -> Result<Vec<String>, StorageError> {
    let read = || -> io::Result<Vec<String>> {
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            // Names that begin with a dot are unfinished.
            names.extend(name.to_str().filter(|name| !name.starts_with('.')).map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    };
    read().map_err(|error| StorageError::io(folder, "list", error))
}

#[cfg(not(test))]
use fs::remove_dir_all as remove_all;
#[cfg(test)]
use journal::{files_synced, filled_by_others, made, names_synced, remove_all, renamed, replaced, step};

#[cfg(not(test))]
fn step<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    act()
}
#[cfg(not(test))]
fn made(_: &Path) {}
#[cfg(not(test))]
fn filled_by_others(_: &Path) {}
#[cfg(not(test))]
fn renamed(_: &Path, _: &Path) {}
#[cfg(not(test))]
fn names_synced(_: &Path) {}
#[cfg(not(test))]
fn replaced(_: &Path) {}
#[cfg(not(test))]
fn files_synced(_: &Path) {}
