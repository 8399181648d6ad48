//! Reading all of a collection and checking that it agrees with itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearline_storage::{Disk, StorageError};
use roaring::RoaringBitmap;

use super::index::covered;
use super::{Collection, Files, locked, metadata};
use crate::error::OpenError;
use crate::field::{FieldIndexInfo, field_number, is_field_file};
use crate::manifest::{Manifest, is_dead_file, read_dead};
use crate::questions::{Questions, is_questions_file};
use crate::segment::{Segment, is_segment_file};
use crate::state::State;
use crate::vector_index::{VectorIndex, index_number};

impl Collection {
    /// Reads every file and checks checksums and what must hold: ids and rows agree, no id has two living points, as many
    /// points live as are counted, field indexes have the rows and keys of the payloads, no file is missing and none is
    /// left over. Writes go on meanwhile; flushes wait.
    ///
    /// # Errors
    /// The first thing that is wrong, with file and offset.
    pub fn verify(&self) -> Result<(), OpenError> {
        self.verify_parts(true)
    }

    /// As [`Collection::verify`], but for the files of field and vector indexes and questions: what points are not made of.
    pub(crate) fn verify_source(&self) -> Result<(), OpenError> {
        self.verify_parts(false)
    }

    fn verify_parts(&self, with_fields: bool) -> Result<(), OpenError> {
        let inner = &self.shared.inner;
        let mut files = locked(&inner.files);
        if files.untidy && !inner.keeps_leftovers {
            inner.tidy(&mut files);
        }
        let (disk, manifest) = (inner.disk.as_ref(), &files.manifest);
        check_files(disk, &files, with_fields)?;
        metadata::read(disk)?;
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
        if with_fields {
            verify_indexes(&inner.disk, manifest, &state)?;
            verify_questions(disk, manifest)?;
            inner.verify_tier(manifest.store_id, &state)?;
        }
        for segment in &state.segments {
            segment.verify(disk, manifest.store_id)?;
            verify_absent(&state, segment)?;
            if with_fields {
                verify_fields(&state.fields, segment)?;
                let metrics = inner.schema.vectors().map(|(_, config)| config.metric);
                segment.verify_codes(disk, manifest.store_id, metrics)?;
            }
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

/// Vector indexes are sound, and have the vectors of all living rows up to their last.
fn verify_indexes(disk: &Arc<dyn Disk>, manifest: &Manifest, state: &State) -> Result<(), OpenError> {
    for info in &manifest.indexes {
        let mut living = covered(state, info.at);
        living.remove_range(info.last.0.saturating_add(1)..);
        VectorIndex::verify(disk, info, &living, &state.dead)?;
    }
    Ok(())
}

/// Questions that are kept are such vectors.
pub(super) fn verify_questions(disk: &dyn Disk, manifest: &Manifest) -> Result<(), OpenError> {
    for info in &manifest.questions {
        if let Some(config) = manifest.schema.config(info.at) {
            Questions::read(disk, manifest.store_id, info, config)?;
        }
    }
    Ok(())
}

/// Rows that a segment lacks are dead.
fn verify_absent(state: &State, segment: &Segment) -> Result<(), OpenError> {
    let (first, last) = (segment.info.first.0, segment.info.last.0);
    let mut absent = RoaringBitmap::new();
    absent.insert_range(first..=last);
    for point in segment.scan() {
        absent.remove(point?.0.0);
    }
    absent -= &*state.dead;
    if let Some(row) = absent.min() {
        let path = segment.path();
        return Err(
            StorageError::corrupt(path, 0, "row that is neither there nor dead", row.into(), 0).into()
        );
    }
    Ok(())
}

/// A segment's files of field indexes are those that its payloads give.
pub(super) fn verify_fields(fields: &[FieldIndexInfo], segment: &Segment) -> Result<(), OpenError> {
    for index in fields {
        let Some(file) = segment.field(index.number) else { continue };
        file.verify(index, segment.scan().map(|point| point.map(|(row, _, payload)| (row, payload))))?;
    }
    Ok(())
}

/// All files of the manifest are there, and no others of their kinds unless an attempt to write them failed.
fn check_files(disk: &dyn Disk, files: &Files, with_fields: bool) -> Result<(), OpenError> {
    let is_derived =
        |name: &String| is_field_file(name) || is_questions_file(name) || index_number(name).is_some();
    let is_asked = |name: &String| with_fields || !is_derived(name);
    let known: BTreeSet<String> = files.manifest.files().into_iter().filter(is_asked).collect();
    let number_of = |name: &String| field_number(name).or_else(|| index_number(name));
    let unfinished = |name: &String| number_of(name).is_some_and(|number| files.building.contains(&number));
    let ours =
        |name: &String| (is_segment_file(name) || is_dead_file(name) || is_derived(name)) && is_asked(name);
    let there: BTreeSet<String> =
        disk.list()?.into_iter().filter(|name| ours(name) && !unfinished(name)).collect();
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
