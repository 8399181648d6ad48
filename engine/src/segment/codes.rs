//! Codes of a segment's vectors, in memory and in a file beside them: `codes.N.V`. They are derived, and the manifest does
//! not name their file; it goes with its segment.

use std::sync::Arc;

use nearline_index::{Metric, RowCodes};
use nearline_storage::{Disk, StorageError, replacement_name};

use super::{Segment, vectors_id};
use crate::error::OpenError;

const STEM: &str = "codes.";

/// The name of the file of codes of the vectors of a name.
pub(crate) fn codes_name(number: u64, at: usize) -> String {
    format!("{STEM}{number:06}.{at:02}")
}

/// The number of the segment that a file of codes is of.
pub(crate) fn codes_number(name: &str) -> Option<u64> {
    name.strip_prefix(STEM)?.split('.').next()?.parse().ok()
}

/// Another than that of the vectors.
fn codes_id(store_id: u64, number: u64, at: usize) -> u64 {
    vectors_id(store_id, number, at).rotate_left(32)
}

impl Segment {
    /// The codes of the vectors of a name, if they are in memory.
    pub(crate) fn codes(&self, at: usize) -> Option<&Arc<RowCodes>> {
        self.codes.get(at)?.as_ref()
    }

    /// The segment with codes of the vectors of a name.
    pub(crate) fn with_codes(&self, at: usize, codes: Arc<RowCodes>) -> Self {
        let mut more = self.clone();
        more.codes[at] = Some(codes);
        more
    }

    /// Bytes of memory that its codes take.
    pub(crate) fn codes_bytes(&self) -> u64 {
        self.codes.iter().flatten().map(|codes| codes.ram_bytes()).sum()
    }

    /// Reads the codes of the vectors of a name from their file; `None` if there is no such file.
    pub(crate) fn read_codes(
        &self,
        disk: &dyn Disk,
        store_id: u64,
        at: usize,
        metric: Metric,
    ) -> Result<Option<RowCodes>, OpenError> {
        let Some(flat) = &self.vectors[at] else { return Ok(None) };
        let (name, id) = (codes_name(self.info.number, at), codes_id(store_id, self.info.number, at));
        match RowCodes::read(disk, &name, id, metric, flat) {
            Ok(codes) => Ok(Some(codes)),
            Err(nearline_index::IndexError::Storage(StorageError::NotFound { .. })) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes codes of the vectors of a name into their file, in the place of the one there may be.
    pub(crate) fn write_codes(
        &self,
        disk: &dyn Disk,
        store_id: u64,
        at: usize,
        codes: &RowCodes,
    ) -> Result<(), OpenError> {
        let (name, id) = (codes_name(self.info.number, at), codes_id(store_id, self.info.number, at));
        let draft = replacement_name(&name);
        let written = codes.write(disk, &draft, id);
        let written = written.map_err(OpenError::from).and_then(|_| Ok(disk.rename(&draft, &name)?));
        if let Err(error) = written {
            // The first error is the one to tell; what is left goes when the collection is opened.
            let _ = disk.remove(&draft);
            return Err(error);
        }
        Ok(disk.sync_dir()?)
    }

    /// Checks the files of codes that are there.
    pub(crate) fn verify_codes(
        &self,
        disk: &dyn Disk,
        store_id: u64,
        metrics: impl Iterator<Item = Metric>,
    ) -> Result<(), OpenError> {
        for (at, metric) in metrics.enumerate() {
            self.read_codes(disk, store_id, at, metric)?;
        }
        Ok(())
    }
}

/// The files of codes in a folder that are of segments with numbers that `which` says.
pub(crate) fn codes_files(disk: &dyn Disk, which: impl Fn(u64) -> bool) -> Result<Vec<String>, StorageError> {
    let is_asked = |name: &String| codes_number(name).is_some_and(&which);
    Ok(disk.list()?.into_iter().filter(is_asked).collect())
}
