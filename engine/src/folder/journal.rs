//! What was done to folders and is not durable yet, so that a test can let the power go: what was not synced is undone, for each
//! folder the last few names of it, and files that nobody synced are cut short.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What undoes a change of a name.
enum Undo {
    Made(PathBuf),
    Renamed(PathBuf, PathBuf),
    /// Where it was, and where it is kept.
    Removed(PathBuf, PathBuf),
}

impl Undo {
    /// The folder whose names it is about.
    fn folder(&self) -> &Path {
        let (Self::Made(path) | Self::Renamed(path, _) | Self::Removed(path, _)) = self;
        path.parent().unwrap()
    }

    fn act(&self) {
        // What is in a folder that is undone itself may be gone already.
        let _ = match self {
            Self::Made(path) if path.is_dir() => fs::remove_dir_all(path),
            Self::Made(path) => fs::remove_file(path),
            Self::Renamed(from, to) => fs::rename(to, from),
            Self::Removed(path, kept) => fs::rename(kept, path),
        };
    }
}

/// What somebody forgot, so that it is seen that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    /// To sync the names in folders.
    Names,
    /// To sync the bytes of files.
    Bytes,
}

struct Journal {
    planted: Option<Planted>,
    /// Steps until the power goes.
    left: u64,
    done: u64,
    /// Changes of names that a crash may undo, in their order.
    names: Vec<Undo>,
    /// Folders whose files a crash may cut short, and those whose names it may forget, that others filled.
    bytes: Vec<PathBuf>,
    unnamed: Vec<PathBuf>,
    /// Where removed folders are kept.
    kept: PathBuf,
}

impl Journal {
    /// The names in a folder survive from now on.
    fn durable(&mut self, folder: &Path) {
        self.names.retain(|undo| undo.folder() != folder);
        self.unnamed.retain(|other| other != folder);
    }
}

thread_local! {
    static JOURNAL: RefCell<Option<Journal>> = const { RefCell::new(None) };
}

/// Notes what this thread does to folders, until the power goes at a step. `kept` is an empty folder beside theirs.
pub(crate) fn begin(kept: &Path, at: u64, planted: Option<Planted>) {
    let (names, bytes, unnamed, kept) = (Vec::new(), Vec::new(), Vec::new(), kept.to_owned());
    JOURNAL.set(Some(Journal { planted, left: at, done: 0, names, bytes, unnamed, kept }));
}

/// Ends noting, and undoes what `random` (a number below the one it is given) says. Returns how many steps there were.
pub(crate) fn crash(random: &mut dyn FnMut(u64) -> u64) -> u64 {
    let Some(journal) = JOURNAL.take() else { return 0 };
    let mut folders: Vec<&Path> = journal.names.iter().map(Undo::folder).collect();
    folders.sort_unstable();
    folders.dedup();
    let last = |folder: &Path| journal.names.iter().filter(|undo| undo.folder() == folder).count() as u64;
    let mut lost: Vec<u64> = folders.iter().map(|folder| random(last(folder) + 1)).collect();
    for file in journal.bytes.iter().flat_map(|folder| files_in(folder)) {
        let open = fs::OpenOptions::new().write(true).open(file).unwrap();
        let len = open.metadata().unwrap().len();
        if random(2) == 0 {
            open.set_len(random(len + 1)).unwrap();
        }
    }
    for file in journal.unnamed.iter().flat_map(|folder| files_in(folder)) {
        if random(3) == 0 {
            fs::remove_file(file).unwrap();
        }
    }
    for undo in journal.names.iter().rev() {
        let left = &mut lost[folders.binary_search(&undo.folder()).unwrap()];
        if *left > 0 {
            *left -= 1;
            undo.act();
        }
    }
    journal.done
}

/// The files in a folder, and in no folder of it; none if there is no such folder any more.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

fn noting(note: impl FnMut(&mut Journal)) {
    JOURNAL.with_borrow_mut(|journal| journal.iter_mut().for_each(note));
}

/// Takes a step, unless the power is gone.
pub(super) fn step<T>(act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let is_off = JOURNAL.with_borrow_mut(|journal| {
        let Some(journal) = journal else { return false };
        journal.done += 1;
        journal.left = journal.left.saturating_sub(1);
        journal.left == 0
    });
    if is_off { Err(io::Error::other("the power is gone")) } else { act() }
}

pub(super) fn made(path: &Path) {
    noting(|journal| journal.names.push(Undo::Made(path.to_owned())));
}

pub(super) fn filled_by_others(folder: &Path) {
    let below = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let all: Vec<PathBuf> = below.filter(|path| path.is_dir()).chain([folder.to_owned()]).collect();
    noting(|journal| {
        journal.bytes.extend_from_slice(&all);
        journal.unnamed.extend_from_slice(&all);
    });
}

pub(super) fn renamed(from: &Path, to: &Path) {
    noting(|journal| {
        for folder in journal.bytes.iter_mut().chain(&mut journal.unnamed) {
            if let Ok(below) = folder.strip_prefix(from) {
                *folder = to.join(below);
            }
        }
        journal.names.push(Undo::Renamed(from.to_owned(), to.to_owned()));
    });
}

pub(super) fn names_synced(folder: &Path) {
    noting(|journal| {
        if journal.planted != Some(Planted::Names) {
            journal.durable(folder);
        }
    });
}

pub(super) fn replaced(folder: &Path) {
    noting(|journal| journal.durable(folder));
}

pub(super) fn files_synced(folder: &Path) {
    noting(|journal| {
        if journal.planted != Some(Planted::Bytes) {
            journal.bytes.retain(|other| other != folder);
        }
    });
}

/// Removes a folder, or puts it aside if a crash may bring it back.
pub(super) fn remove_all(folder: &Path) -> io::Result<()> {
    JOURNAL.with_borrow_mut(|journal| match journal {
        None => fs::remove_dir_all(folder),
        Some(journal) => {
            let kept = journal.kept.join(journal.done.to_string());
            fs::rename(folder, &kept)?;
            journal.names.push(Undo::Removed(folder.to_owned(), kept));
            Ok(())
        }
    })
}
