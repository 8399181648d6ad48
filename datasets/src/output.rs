//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{DatasetError, Result};

/// Buffer in front of the file.
const BUFFER: usize = 1 << 20;

/// Writes under the name `<name>.partial`, which no reader opens, and takes the real name at the end.
/// Dropped before that, it removes what it wrote.
pub(crate) struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Output {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let mut name = OsString::from(path);
        name.push(".partial");
        let partial = PathBuf::from(name);
        let file = File::create(&partial).map_err(|e| DatasetError::io(path, "create", e))?;
        let file = Some(BufWriter::with_capacity(BUFFER, file));
        Ok(Self { path: path.to_owned(), partial, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(bytes).map_err(|e| DatasetError::io(&self.path, "write", e))
    }

    /// Puts `header` over the first bytes, syncs the file and gives it its name.
    pub(crate) fn finish(mut self, header: &[u8]) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let outcome = (|| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(header)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            std::fs::rename(&self.partial, &self.path)
        })();
        outcome.map_err(|e| {
            // the first error is the one to report
            let _ = std::fs::remove_file(&self.partial);
            DatasetError::io(&self.path, "write", e)
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // nobody is left to hear of an error here; a `.partial` file is never opened
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}
