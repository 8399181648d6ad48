//! Reading all of a collection and checking that it agrees with itself.

use std::collections::BTreeSet;

use nearline_storage::{Disk, StorageError};

use super::{Collection, Files, locked};
use crate::error::OpenError;
use crate::manifest::{is_dead_file, read_dead};
use crate::segment::{Segment, is_segment_file};

impl Collection {
    /// Reads every file and checks checksums and what must hold: ids and rows agree, no id has two living points, as many
    /// points live as are counted, no file is missing and none is left over. Writes go on meanwhile; flushes wait.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and offset.
    pub fn verify(&self) -> Result<(), OpenError> {
        let inner = &self.shared.inner;
        let mut files = locked(&inner.files);
        if files.untidy {
            inner.tidy(&mut files);
        }
        let (disk, manifest) = (inner.disk.as_ref(), &files.manifest);
        check_files(disk, &files)?;
        if let Some(number) = manifest.dead {
            read_dead(disk, manifest.store_id, number)?;
        }
        let state = inner.state();
        let (mut ids, mut live) = (BTreeSet::new(), 0u64);
        let mut meet = |id, alive: bool| {
            live += u64::from(alive);
            !alive || ids.insert(id)
        };
        let path = disk.root().join("ids");
        let twice = |row: nearline_index::RowId| {
            StorageError::corrupt(&path, 0, "second living row of an id", row.0.into(), u64::MAX)
        };
        for segment in &state.segments {
            Segment::verify(segment)?;
            for point in segment.scan() {
                let (row, id, _) = point?;
                if !meet(id, !state.is_dead(row)) {
                    return Err(twice(row).into());
                }
            }
        }
        for point in state.live_in_memory() {
            if !meet(point.id, true) {
                return Err(twice(point.row).into());
            }
        }
        if live != state.live {
            return Err(StorageError::corrupt(&path, 0, "number of points", live, state.live).into());
        }
        Ok(())
    }
}

/// All files of the manifest are there, and no others of their kinds unless an attempt to write them failed.
fn check_files(disk: &dyn Disk, files: &Files) -> Result<(), OpenError> {
    let known: BTreeSet<String> = files.manifest.files().into_iter().collect();
    let there: BTreeSet<String> =
        disk.list()?.into_iter().filter(|name| is_segment_file(name) || is_dead_file(name)).collect();
    if let Some(missing) = known.difference(&there).next() {
        return Err(StorageError::NotFound { file: disk.root().join(missing) }.into());
    }
    match there.difference(&known).next() {
        Some(name) if !files.untidy => {
            let file = disk.root().join(name);
            Err(StorageError::corrupt(&file, 0, "file that nothing names", 1, 0).into())
        }
        _ => Ok(()),
    }
}
