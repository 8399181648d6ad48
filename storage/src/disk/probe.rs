//! Finding out how batch reads are done best in a folder.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::atomic::replacement_name;
use crate::buffer::AlignedBuf;
use crate::disk::read_file::ReadFile;
use crate::disk::uring::UringReader;
use crate::disk::{BatchReader, PAGE, ReadRange, Window};
use crate::error::{Result, StorageError};

/// How batch reads are to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// io_uring if it works here, threads otherwise.
    #[default]
    Auto,
    /// io_uring with direct reads, or an error.
    Uring,
    /// A pool of threads, with direct reads if they work here.
    Pread,
}

impl IoMode {
    /// What the environment variable `NEARLINE_IO` asks for: `uring`, `pread` or `auto`. Without it, or with
    /// anything else in it, [`IoMode::Auto`].
    pub fn from_env() -> Self {
        match std::env::var("NEARLINE_IO").as_deref() {
            Ok("uring") => Self::Uring,
            Ok("pread") => Self::Pread,
            _ => Self::Auto,
        }
    }
}

/// How batch reads are done in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoInUse {
    /// [`IoMode::Uring`] or [`IoMode::Pread`].
    pub mode: IoMode,
    /// Whether reads go past the page cache.
    pub direct: bool,
    /// One line for people: what is in use and, if it is not the best, why.
    pub why: String,
}

impl std::fmt::Display for IoInUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// Tries io_uring and direct reads on a file of the folder and settles on what works.
///
/// # Errors
/// If io_uring is insisted on and does not work.
pub(crate) fn choose(root: &Path, wanted: IoMode) -> Result<IoInUse> {
    let sample = Sample::find(root);
    let direct = sample.is_ok();
    let uring = match (sample, wanted) {
        (_, IoMode::Pread) => Err("as asked".to_owned()),
        (Err(error), _) => Err(format!("direct reads do not work here: {error}")),
        (Ok(sample), _) => {
            sample.try_uring(root).map_err(|error| format!("io_uring does not work here: {error}"))
        }
    };
    match uring {
        Ok(()) => Ok(IoInUse { mode: IoMode::Uring, direct: true, why: "io_uring, O_DIRECT".into() }),
        Err(why) if wanted == IoMode::Uring => {
            Err(StorageError::io(root, "use io_uring", io::Error::new(io::ErrorKind::Unsupported, why)))
        }
        Err(why) => {
            let how = if direct { "O_DIRECT" } else { "page cache" };
            Ok(IoInUse { mode: IoMode::Pread, direct, why: format!("pread threads, {how}: {why}") })
        }
    }
}

/// A file of the folder whose first page has been read directly.
struct Sample(ReadFile);

impl Sample {
    /// Takes any file that is there, or a temporary one.
    fn find(root: &Path) -> io::Result<Self> {
        for entry in std::fs::read_dir(root)? {
            let path = entry?.path();
            let long_enough =
                path.metadata().is_ok_and(|found| found.is_file() && found.len() >= PAGE as u64);
            if long_enough {
                match Self::open(&path) {
                    // Somebody removed it in the meantime.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => return other,
                }
            }
        }
        let path = root.join(replacement_name("probe"));
        std::fs::write(&path, [0; PAGE])?;
        let sample = Self::open(&path);
        std::fs::remove_file(&path)?;
        sample
    }

    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)?;
        file.read_exact_at(&mut AlignedBuf::new(PAGE), 0)?;
        Ok(Self(ReadFile { file, path: path.to_path_buf() }))
    }

    fn try_uring(self, root: &Path) -> Result<()> {
        let window = Window { reads: 1, bytes: PAGE };
        let mut reader = UringReader::new(root.to_path_buf(), vec![Arc::new(self.0)], window);
        reader.submit(0, 0, ReadRange { offset: 0, bytes: PAGE })?;
        reader.wait().map(drop)
    }
}
