//! Moving points from memory into segments, and segments into one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::{Disk, StorageError, is_temp_name};
use roaring::RoaringBitmap;

use super::METADATA;
use super::write::refused;
use super::{Collection, Files, Inner, locked};
use crate::error::WriteError;
use crate::field::field_number;
use crate::manifest::{MANIFEST, Manifest, is_dead_file, write_dead};
use crate::point_id::PointId;
use crate::questions::is_questions_file;
use crate::record::{Stored, row_of};
use crate::segment::{Segment, SegmentInfo, SegmentWriter, codes_number, decode_id_row, is_segment_file};
use crate::state::State;
use crate::vector_index::index_number;

impl Collection {
    /// Moves all points from memory into files, and forgets the log of them.
    ///
    /// Nobody needs to call it: it happens by itself, and what is in memory is in the log, too.
    ///
    /// # Errors
    /// When the disk fails or is full. Nothing is lost then.
    pub fn flush(&self) -> Result<(), WriteError> {
        self.shared.inner.flush()
    }

    /// Moves all points into one segment without any that died, and builds what is missing of field indexes.
    ///
    /// # Errors
    /// When the disk fails or is full. Nothing is lost then.
    pub fn compact(&self) -> Result<(), WriteError> {
        self.shared.inner.flush()?;
        let count = self.shared.inner.state().segments.len();
        self.shared.inner.merge(0, count)?;
        self.shared.inner.build_all_fields()
    }
}

impl Inner {
    pub(super) fn flush(&self) -> Result<(), WriteError> {
        self.flush_files(&mut locked(&self.files))
    }

    /// Flushes, for somebody who goes on with the files as they are then.
    pub(super) fn flush_files(&self, files: &mut Files) -> Result<(), WriteError> {
        let Some((state, next)) = self.freeze(&files.manifest)? else { return Ok(()) };
        let old_dead = next.dead.map(Manifest::dead_file);
        let logged = state.logged;
        let segment = self.tidying(files, |files| self.write_flushed(files, next, &state))?;
        self.change(|state| {
            state.logged -= logged;
            state.segments.extend(segment);
            state.frozen.clear();
            state.flushed_lsn = files.manifest.flushed_lsn;
            forget_dead(state, files);
        });
        locked(&self.background).grown = Some(std::time::Instant::now());
        self.tend_tier();
        // The points are safe; what of the log cannot be removed now is the next time.
        let _ = locked(&self.writer).wal.trim(files.manifest.flushed_lsn);
        self.remove(files, old_dead.as_slice());
        Ok(())
    }

    fn write_flushed(
        &self,
        files: &mut Files,
        mut next: Manifest,
        state: &State,
    ) -> Result<Option<Arc<Segment>>, WriteError> {
        let points = || state.frozen.iter().flat_map(|run| &run.points);
        let live = || points().filter(|point| !state.is_dead(point.row));
        let mut ids: Vec<(PointId, RowId)> = live().map(|point| (point.id, point.row)).collect();
        ids.sort_unstable();
        let fill = |write: &mut Push<'_>| live().try_for_each(|point| write(point));
        let segment = self.write_segment(files, fill, ids.into_iter().map(Ok))?;
        next.dead = None;
        next.segments.extend(segment.as_ref().map(|segment| segment.info.clone()));
        let dead = known_dead(&state.dead, &next, !files.building.is_empty());
        if !dead.is_empty() {
            let number = files.take_number();
            write_dead(self.disk.as_ref(), next.store_id, number, &dead)?;
            next.dead = Some(number);
        }
        self.adopt(files, next)?;
        Ok(segment)
    }

    /// Takes the points in memory out of the writers' hands: the state with them, and the manifest to be. `None` if
    /// there is nothing new.
    fn freeze(&self, manifest: &Manifest) -> Result<Option<(State, Manifest)>, WriteError> {
        let mut writer = locked(&self.writer);
        let mut state = (*self.state()).clone();
        if state.lsn == manifest.flushed_lsn {
            return Ok(None);
        }
        // What is buffered goes along, and the log behind it begins anew.
        writer.wal.sync().and_then(|_| writer.wal.rotate()).map_err(refused)?;
        let runs = std::mem::take(&mut state.runs);
        state.frozen.extend(runs);
        self.publish(state.clone());
        let next = Manifest {
            flushed_lsn: state.lsn,
            next_row: writer.next_row,
            live: state.live,
            ..manifest.clone()
        };
        Ok(Some((state, next)))
    }

    /// Makes one segment of some that lie side by side, without the points that died. One alone is only rewritten.
    pub(super) fn merge(&self, first: usize, count: usize) -> Result<(), WriteError> {
        let mut files = locked(&self.files);
        let state = {
            // Points may only go for good once what killed them is durable.
            let mut writer = locked(&self.writer);
            writer.wal.sync().map_err(refused)?;
            self.state()
        };
        let sources: Vec<Arc<Segment>> = state.segments.iter().skip(first).take(count).cloned().collect();
        let has_dead = sources.iter().any(|segment| dead_points(&segment.info, &state) > 0);
        if sources.is_empty() || (sources.len() == 1 && !has_dead) {
            return Ok(());
        }
        let merged = self.tidying(&mut files, |files| {
            let fill =
                |write: &mut Push<'_>| sources.iter().try_for_each(|source| copy_live(source, &state, write));
            let merged = self.write_segment(files, fill, live_ids(&sources, &state))?;
            let info = merged.as_ref().map(|segment| segment.info.clone());
            let mut next = files.manifest.clone();
            next.segments.splice(first..first + sources.len(), info);
            self.adopt(files, next)?;
            Ok(merged)
        })?;
        self.change(|state| {
            state.segments.splice(first..first + sources.len(), merged);
            forget_dead(state, &files);
        });
        self.tend_tier();
        let old: Vec<String> = sources.iter().flat_map(|source| source.info.files()).collect();
        self.remove(&mut files, &old);
        self.remove_codes(&mut files, &sources);
        Ok(())
    }

    /// Writes a segment of the points that `fill` gives and opens it; `None` if there were none. `ids` are theirs, in
    /// order.
    fn write_segment(
        &self,
        files: &mut Files,
        fill: impl FnOnce(&mut Push<'_>) -> Result<(), WriteError>,
        ids: impl Iterator<Item = Result<(PointId, RowId), StorageError>>,
    ) -> Result<Option<Arc<Segment>>, WriteError> {
        let (number, store_id, disk) = (files.take_number(), files.manifest.store_id, self.disk.as_ref());
        let indexes = files.manifest.fields.clone();
        let mut fields = self.field_writers(files, indexes);
        let mut writer: Option<SegmentWriter<'_>> = None;
        fill(&mut |point| {
            if writer.is_none() {
                writer = Some(SegmentWriter::create(
                    disk,
                    store_id,
                    &self.schema,
                    number,
                    std::mem::take(&mut fields),
                )?);
            }
            match &mut writer {
                Some(writer) => Ok(writer.push(point)?),
                None => Ok(()),
            }
        })?;
        let Some(writer) = writer else { return Ok(None) };
        let info = writer.finish(ids)?;
        let segment = Segment::open(&self.disk, store_id, &self.schema, info, &self.cache)?;
        Ok(Some(Arc::new(segment)))
    }

    /// Makes a manifest the one that counts.
    pub(super) fn adopt(&self, files: &mut Files, next: Manifest) -> Result<(), WriteError> {
        let next = Manifest { next_number: files.manifest.next_number, ..next };
        self.disk.sync_dir()?;
        next.write(self.disk.as_ref())?;
        files.manifest = next;
        Ok(())
    }

    /// Does something with files; what is left of it when it fails goes.
    pub(super) fn tidying<T>(
        &self,
        files: &mut Files,
        act: impl FnOnce(&mut Files) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let done = act(files);
        if done.is_err() {
            self.tidy(files);
        }
        done
    }

    /// Removes all files that nothing names. What cannot be removed now is later.
    pub(super) fn tidy(&self, files: &mut Files) {
        let disk = self.disk.as_ref();
        // A manifest whose last step failed may be the one on disk: then its files must stay.
        let is_ours = Manifest::read(disk).is_ok_and(|there| there.files() == files.manifest.files());
        files.untidy = self.keeps_leftovers
            || !is_ours
            || remove_orphans(disk, &files.manifest, &files.building).is_err();
    }

    /// Changes what readers see beside what writers change.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let _writer = locked(&self.writer);
        let mut state = (*self.state()).clone();
        change(&mut state);
        let State { indexes, segments, .. } = &mut state;
        for listed in indexes.iter_mut().flatten() {
            // What cannot be opened now is before more rows come into lists.
            let _ = listed.over(self.disk.as_ref(), segments);
        }
        self.publish(state);
    }

    /// Removes files that nothing names any more.
    pub(super) fn remove(&self, files: &mut Files, names: &[String]) {
        for name in names {
            files.untidy |= self.disk.remove(name).is_err();
        }
        if files.untidy {
            self.tidy(files);
        }
    }
}

/// Files of segments and tombstones, and drafts, that a manifest does not name. While the collection is open, those that
/// are `building` are not left over, nor are drafts but the manifest's.
pub(crate) fn orphans(
    disk: &dyn Disk,
    manifest: &Manifest,
    building: Option<&BTreeSet<u64>>,
) -> Result<Vec<String>, StorageError> {
    let known: BTreeSet<String> = manifest.files().into_iter().collect();
    let is_small = |name: &str| name.starts_with(MANIFEST) || name.starts_with(METADATA);
    let is_draft = |name: &str| is_temp_name(name) && (building.is_none() || is_small(name));
    let ours = |name: &str| {
        is_segment_file(name)
            || is_dead_file(name)
            || is_questions_file(name)
            || index_number(name).is_some()
            || is_draft(name)
    };
    // They are not named, but go with their segments.
    let is_codes = |name: &str| {
        let of = codes_number(name);
        of.is_some_and(|number| manifest.segments.iter().all(|info| info.number != number))
    };
    let number = |name: &str| field_number(name).or_else(|| index_number(name));
    let is_unfinished =
        |name: &str| number(name).zip(building).is_some_and(|(number, building)| building.contains(&number));
    let is_orphan =
        |name: &String| is_codes(name) || (ours(name) && !known.contains(name) && !is_unfinished(name));
    Ok(disk.list()?.into_iter().filter(is_orphan).collect())
}

/// Removes files of segments and tombstones, and drafts, that a manifest does not name and nobody is building.
pub(super) fn remove_orphans(
    disk: &dyn Disk,
    manifest: &Manifest,
    building: &BTreeSet<u64>,
) -> Result<(), StorageError> {
    remove_all(disk, &orphans(disk, manifest, Some(building))?)
}

pub(super) fn remove_all(disk: &dyn Disk, names: &[String]) -> Result<(), StorageError> {
    names.iter().try_for_each(|name| disk.remove(name))
}

/// Takes a point into a segment.
type Push<'a> = dyn FnMut(&Stored) -> Result<(), WriteError> + 'a;

fn copy_live(source: &Segment, state: &State, write: &mut Push<'_>) -> Result<(), WriteError> {
    let mut vectors_of = source.vectors_in_order();
    for point in source.scan() {
        let (row, id, payload) = point?;
        if !state.is_dead(row) {
            write(&Stored { row, id, vectors: vectors_of(row)?, payload })?;
        }
    }
    Ok(())
}

/// The ids of all points that are not dead, in order, with their rows.
pub(crate) fn live_ids<'a>(
    sources: &'a [Arc<Segment>],
    state: &'a State,
) -> impl Iterator<Item = Result<(PointId, RowId), StorageError>> + 'a {
    // An id may be in several of them: the newest row counts, and is dead if the point was deleted. A row that is none is
    // found when it is decoded.
    let is_live =
        |_: &[u8], row: &[u8]| row_of(row, Path::new("ids")).map_or(true, |row| !state.is_dead(row));
    let newest_first = sources.iter().rev().map(|source| source.ids());
    nearline_storage::merge(newest_first, is_live).map(|pair| {
        let (key, value) = pair?;
        decode_id_row(&key, &value, Path::new("ids"))
    })
}

/// Dead rows without those before all segments. (Rows that lie between those of segments, or will, stay: a merge spans
/// them, and what a segment spans and does not have is known to be dead by nothing else.)
pub(super) fn known_dead<'a>(
    dead: &'a RoaringBitmap,
    manifest: &Manifest,
    is_building: bool,
) -> Cow<'a, RoaringBitmap> {
    let first = manifest.segments.first().map_or(manifest.next_row, |info| info.first);
    // An index, or one that is being built, goes on having rows that the segments were merged without.
    let is_indexed = is_building || !manifest.indexes.is_empty();
    if is_indexed || first.0 == 0 || dead.range_cardinality(..first.0) == 0 {
        return Cow::Borrowed(dead);
    }
    let mut known = dead.clone();
    known.remove_range(..first.0);
    Cow::Owned(known)
}

/// Forgets the dead rows that nothing refers to any more.
fn forget_dead(state: &mut State, files: &Files) {
    let is_building = !files.building.is_empty();
    if let Cow::Owned(known) = known_dead(&state.dead, &files.manifest, is_building) {
        state.dead = Arc::new(known);
    }
}

/// Points of a segment that died since it was written.
pub(super) fn dead_points(info: &SegmentInfo, state: &State) -> u64 {
    let (first, last) = (info.first.0, info.last.0);
    let absent = u64::from(last - first) + 1 - info.points;
    // Rows that are not in it died before, but for the few that were never given to a point.
    state.dead.range_cardinality(first..=last).saturating_sub(absent)
}
