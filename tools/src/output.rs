//! Files of results, written as they come; they take their names when they are whole.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use nearline_datasets::DatasetError;

use crate::exit;

/// Refuses to write over a file, or where there is no folder. To be asked before anything is made or takes long.
pub(crate) fn check_new(path: &Path) -> anyhow::Result<()> {
    let file = path.display();
    if path.symlink_metadata().is_ok() {
        return Err(exit::usage(format!("{file}: exists already; choose a new file, or remove it")));
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        None => Ok(()),
        Some(parent) => {
            let parent = parent.display();
            Err(exit::bad_input(format!("{file}: there is no folder {parent}; make it, or choose another")))
        }
    }
}

/// A file under the name `<name>.partial` until it is finished; dropped before, it is removed.
pub(crate) struct Output {
    path: PathBuf,
    partial: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Output {
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::create(&partial).map_err(|error| failed(path, "create", error))?;
        Ok(Self { path: path.to_owned(), partial, file: Some(BufWriter::new(file)) })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        Ok(file.write_all(bytes).map_err(|error| failed(&self.path, "write", error))?)
    }

    /// Finishes files that belong together: all of them take their names, or none does.
    pub(crate) fn finish_all(outputs: Vec<Self>) -> anyhow::Result<()> {
        let mut named = Vec::with_capacity(outputs.len());
        for output in outputs {
            let path = output.path.clone();
            if let Err(error) = output.finish() {
                for path in named {
                    let _ = std::fs::remove_file(path); // the first error is the one to report
                }
                return Err(error);
            }
            named.push(path);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let done = file.flush().and_then(|()| file.get_ref().sync_all());
        let done = done.and_then(|()| std::fs::rename(&self.partial, &self.path));
        done.map_err(|error| {
            let _ = std::fs::remove_file(&self.partial); // the first error is the one to report
            failed(&self.path, "write", error).into()
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(&self.partial); // nobody is left to hear of an error
        }
    }
}

fn failed(path: &Path, action: &'static str, source: std::io::Error) -> DatasetError {
    DatasetError::Io { file: path.to_owned(), action, source }
}

/// What stands where a search has found fewer than k; all bits are set in either format.
pub(crate) const NO_ID: u64 = u64::MAX;

/// A file of ids, `k` for each query: `ibin` with u32 ids or `i64bin` with u64 ids.
pub(crate) struct IdOutput {
    output: Output,
    wide: bool,
}

impl IdOutput {
    pub(crate) fn create(path: &Path, queries: u64, k: usize) -> anyhow::Result<Self> {
        let file = path.display();
        let wide = match path.extension().and_then(|extension| extension.to_str()) {
            Some("ibin") => false,
            Some("i64bin") => true,
            _ => return Err(exit::usage(format!("{file}: unknown extension, expected .ibin or .i64bin"))),
        };
        let (Ok(n), Ok(k)) = (u32::try_from(queries), u32::try_from(k)) else {
            return Err(exit::bad_input(format!(
                "{file}: found {queries} queries x {k}, expected below 2^32 each"
            )));
        };
        let mut output = Output::create(path)?;
        output.write(&n.to_le_bytes())?;
        output.write(&k.to_le_bytes())?;
        Ok(Self { output, wide })
    }

    pub(crate) fn write(&mut self, ids: &[u64]) -> anyhow::Result<()> {
        for &id in ids {
            match (self.wide, u32::try_from(id)) {
                (true, _) => self.output.write(&id.to_le_bytes())?,
                (false, _) if id == NO_ID => self.output.write(&u32::MAX.to_le_bytes())?,
                (false, Ok(narrow)) if narrow < u32::MAX => self.output.write(&narrow.to_le_bytes())?,
                (false, _) => return Err(self.too_large(id)),
            }
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.output.finish()
    }

    fn too_large(&self, id: u64) -> anyhow::Error {
        let (file, max) = (self.output.path.display(), u32::MAX - 1);
        exit::usage(format!(
            "{file}: found id {id}, expected at most {max} in .ibin: name the output .i64bin"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_files_that_belong_together_none_stays_alone() {
        let root = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| root.path().join(name));
        let write = || {
            let outputs = paths.iter().map(|path| {
                let mut output = Output::create(path).unwrap();
                output.write(b"all").unwrap();
                output
            });
            Output::finish_all(outputs.collect())
        };
        // What cannot be renamed over.
        std::fs::create_dir_all(paths[1].join("full")).unwrap();
        assert!(write().is_err());
        let names = std::fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["b"]);
        std::fs::remove_dir_all(&paths[1]).unwrap();
        write().unwrap();
        assert!(paths.iter().all(|path| std::fs::read(path).unwrap() == b"all"));
    }
}
