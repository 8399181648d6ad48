//! A folder of the operating system.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, OFlags, fadvise};

use crate::atomic::check_name;
use crate::disk::lock::{FolderLock, LockMode, lock_folder};
use crate::disk::pread::{PreadPool, PreadReader};
use crate::disk::probe::{self, IoInUse, IoMode};
use crate::disk::read_file::ReadFile;
use crate::disk::uring::UringReader;
use crate::disk::{BatchFiles, BatchReader, Disk, DiskFile, ReadRange, Window};
use crate::error::{Result, StorageError};

/// A real folder. Batch reads go through io_uring and past the page cache where that works, and through a pool of
/// threads where it does not.
#[derive(Clone, Debug)]
pub struct OsDisk {
    root: PathBuf,
    io: Arc<Io>,
}

/// What all handles on a folder share.
#[derive(Debug)]
struct Io {
    chosen: IoInUse,
    pool: Arc<PreadPool>,
}

impl OsDisk {
    /// Opens an existing folder and finds out, with one test read, how batch reads are done best.
    ///
    /// # Errors
    /// If there is no such folder, or io_uring was asked for and does not work here.
    pub fn new(root: &Path, io: IoMode) -> Result<Self> {
        let found = root.metadata().map_err(|error| StorageError::io(root, "open the folder", error))?;
        if !found.is_dir() {
            let error = std::io::ErrorKind::NotADirectory.into();
            return Err(StorageError::io(root, "open the folder", error));
        }
        let io = Io { chosen: probe::choose(root, io)?, pool: Arc::default() };
        Ok(Self { root: root.to_path_buf(), io: Arc::new(io) })
    }

    /// As [`OsDisk::new`], making the folder (and those above it) first if it does not exist. Their names survive a crash
    /// then; so does that of a folder that somebody made who did not get as far.
    ///
    /// # Errors
    /// Also if the folder cannot be made, or one above it not be synced.
    pub fn create_dir(root: &Path, io: IoMode) -> Result<Self> {
        let holders = holders(root, Path::exists);
        std::fs::create_dir_all(root).map_err(|error| StorageError::io(root, "create the folder", error))?;
        holders.into_iter().try_for_each(sync_folder)?;
        Self::new(root, io)
    }

    /// How batch reads are done, and why.
    pub fn io_mode(&self) -> &IoInUse {
        &self.io.chosen
    }

    fn open_with(&self, name: &str, op: &'static str, options: &OpenOptions) -> Result<Arc<dyn DiskFile>> {
        let ReadFile { file, path } = self.open_raw(name, op, options)?;
        Ok(Arc::new(OsFile { path, file }))
    }

    fn open_raw(&self, name: &str, op: &'static str, options: &OpenOptions) -> Result<ReadFile> {
        check_name(self, name)?;
        let path = self.root.join(name);
        let file = options.open(&path).map_err(|error| StorageError::io(&path, op, error))?;
        Ok(ReadFile { file, path })
    }
}

impl Disk for OsDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.open_with(name, "open", OpenOptions::new().read(true))
    }

    fn open_rw(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.open_with(name, "open", OpenOptions::new().read(true).write(true))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        self.open_with(name, "create", OpenOptions::new().read(true).write(true).create_new(true))
    }

    fn list(&self) -> Result<Vec<String>> {
        let failed = |error| StorageError::io(&self.root, "list", error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_file = entry.file_type().map_err(failed)?.is_file();
            // Names that are not UTF-8 are none of ours.
            if let Some(name) = entry.file_name().into_string().ok().filter(|_| is_file) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_name(self, from)?;
        check_name(self, to)?;
        let path = self.root.join(from);
        std::fs::rename(&path, self.root.join(to)).map_err(|error| StorageError::io(&path, "rename", error))
    }

    fn remove(&self, name: &str) -> Result<()> {
        check_name(self, name)?;
        let path = self.root.join(name);
        std::fs::remove_file(&path).map_err(|error| StorageError::io(&path, "remove", error))
    }

    fn sync_dir(&self) -> Result<()> {
        sync_folder(&self.root)
    }

    fn open_batch(&self, names: &[&str]) -> Result<Arc<dyn BatchFiles>> {
        let mut options = OpenOptions::new();
        options.read(true);
        let mut op = "open";
        if self.io.chosen.direct {
            // Handles of our own, which go past the page cache.
            options.custom_flags(OFlags::DIRECT.bits() as i32);
            op = "open for direct reads";
        }
        let open = |name: &&str| self.open_raw(name, op, &options).map(Arc::new);
        let files = names.iter().map(open).collect::<Result<_>>()?;
        Ok(Arc::new(OsBatch { root: self.root.clone(), io: Arc::clone(&self.io), files }))
    }

    fn lock(&self, mode: LockMode) -> Result<FolderLock> {
        lock_folder(&self.root, mode)
    }
}

/// Files that are open to be read in batches.
#[derive(Debug)]
struct OsBatch {
    root: PathBuf,
    io: Arc<Io>,
    files: Vec<Arc<ReadFile>>,
}

impl BatchFiles for OsBatch {
    fn reader(&self, window: Window) -> Box<dyn BatchReader> {
        let (root, files) = (self.root.clone(), self.files.clone());
        match self.io.chosen.mode {
            IoMode::Pread => Box::new(PreadReader::new(root, files, window, Arc::clone(&self.io.pool))),
            IoMode::Uring | IoMode::Auto => Box::new(UringReader::new(root, files, window)),
        }
    }
}

/// The folders that hold the name of a folder, and of all above it that do not exist yet, from above.
fn holders(root: &Path, exists: impl Fn(&Path) -> bool) -> Vec<&Path> {
    let mut holders = Vec::new();
    let mut name = root;
    // What has no name is the root of all, or where the process is.
    while let Some(holder) = name.parent() {
        let is_here = holder.as_os_str().is_empty();
        holders.push(if is_here { Path::new(".") } else { holder });
        if is_here || exists(holder) {
            break;
        }
        name = holder;
    }
    holders.reverse();
    holders
}

fn sync_folder(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StorageError::io(path, "sync the folder", error))
}

/// A file of an [`OsDisk`].
#[derive(Debug)]
struct OsFile {
    path: PathBuf,
    file: File,
}

impl OsFile {
    fn failed<E: Into<std::io::Error>>(&self, op: &'static str) -> impl Fn(E) -> StorageError {
        move |error| StorageError::io(&self.path, op, error.into())
    }
}

impl DiskFile for OsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        self.file.metadata().map(|found| found.len()).map_err(self.failed("read the length"))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset + filled as u64;
            match self.file.read_at(&mut buf[filled..], at) {
                Ok(0) => {
                    let wanted = (buf.len() - filled) as u64;
                    return Err(StorageError::unexpected_end(&self.path, at, wanted, self.len()?));
                }
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(StorageError::io_at(&self.path, "read", at, error)),
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|error| StorageError::io_at(&self.path, "write", offset, error))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(self.failed("set the length"))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(self.failed("sync"))
    }

    fn will_need(&self, range: ReadRange) {
        let bytes = std::num::NonZeroU64::new(range.bytes as u64);
        let _ = fadvise(&self.file, range.offset, bytes, Advice::WillNeed);
    }

    fn drop_cache(&self) -> Result<()> {
        // Best effort: a filesystem without the notion of a cache is as good as one that forgot.
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_new_folders_are_made_durable_from_above() {
        let there = |path: &Path| ["/", "/a", "x"].iter().any(|there| Path::new(there) == path);
        let cases: [(&str, &[&str]); 7] = [
            ("/a/b", &["/a"]),
            ("/a/b/c/d", &["/a", "/a/b", "/a/b/c"]),
            ("/a", &["/"]),
            ("/", &[]),
            ("x", &["."]),
            ("x/y", &["x"]),
            ("z/y", &[".", "z"]),
        ];
        for (root, right) in cases {
            let found = holders(Path::new(root), there);
            assert_eq!(found, right.iter().map(Path::new).collect::<Vec<_>>(), "{root}");
        }
    }
}
