//! Moving points from memory into segments, and segments into one.

use std::path::Path;
use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::StorageError;

use super::{Collection, Inner, is_fatal, locked};
use crate::error::WriteError;
use crate::manifest::{Manifest, write_dead};
use crate::point_id::PointId;
use crate::record::{Stored, row_of};
use crate::segment::{Segment, SegmentInfo, SegmentWriter, decode_id_row};
use crate::state::State;

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

    /// Moves all points into one segment without any that died.
    ///
    /// # Errors
    /// When the disk fails or is full. Nothing is lost then.
    pub fn compact(&self) -> Result<(), WriteError> {
        self.shared.inner.flush()?;
        let count = self.shared.inner.state().segments.len();
        self.shared.inner.merge(0, count)
    }
}

impl Inner {
    pub(super) fn flush(&self) -> Result<(), WriteError> {
        let mut manifest = locked(&self.files);
        let Some((state, mut next)) = self.freeze(&manifest)? else { return Ok(()) };
        let live =
            || state.frozen.iter().flat_map(|run| &run.points).filter(|point| !state.is_dead(point.row));
        let mut ids: Vec<(PointId, RowId)> = live().map(|point| (point.id, point.row)).collect();
        ids.sort_unstable();
        let fill = |write: &mut Push<'_>| live().try_for_each(|point| write(point));
        let segment = self.write_segment(&mut next, fill, ids.into_iter().map(Ok))?;
        let old_dead = next.dead.take();
        if !state.dead.is_empty() {
            next.dead = Some(next.next_number);
            next.next_number += 1;
            self.cleaning_up(&next, &manifest, |next| {
                write_dead(self.disk.as_ref(), next.store_id, next.next_number - 1, &state.dead)?;
                Ok(())
            })?;
        }
        next.segments.extend(segment.as_ref().map(|segment| segment.info.clone()));
        self.adopt(&mut manifest, next)?;
        self.change(|state| {
            state.segments.extend(segment);
            state.frozen.clear();
            state.flushed_lsn = manifest.flushed_lsn;
        });
        locked(&self.writer).wal.trim(manifest.flushed_lsn)?;
        if let Some(number) = old_dead {
            self.remove(&[Manifest::dead_file(number)]);
        }
        Ok(())
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
        writer.wal.sync().and_then(|_| writer.wal.rotate()).map_err(|error| match is_fatal(&error) {
            true => WriteError::Poisoned { cause: Arc::new(error) },
            false => error.into(),
        })?;
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
        let mut manifest = locked(&self.files);
        let state = {
            // Points may only go for good once what killed them is durable.
            let mut writer = locked(&self.writer);
            writer.wal.sync()?;
            self.state()
        };
        let sources: Vec<Arc<Segment>> = state.segments.iter().skip(first).take(count).cloned().collect();
        let has_dead = sources.iter().any(|segment| dead_points(&segment.info, &state) > 0);
        if sources.is_empty() || (sources.len() == 1 && !has_dead) {
            return Ok(());
        }
        let mut next = manifest.clone();
        let fill =
            |write: &mut Push<'_>| sources.iter().try_for_each(|source| copy_live(source, &state, write));
        // An id may be in several of them: the newest row counts, and is dead if the point was deleted.
        let of_sources = sources.iter().rev().map(|source| source.ids());
        let ids =
            nearline_storage::merge(of_sources, |_, row| is_live(row, &state)).map(|pair| id_and_row(&pair?));
        let merged = self.write_segment(&mut next, fill, ids)?;
        let info = merged.as_ref().map(|segment| segment.info.clone());
        next.segments.splice(first..first + sources.len(), info);
        self.adopt(&mut manifest, next)?;
        self.change(|state| {
            state.segments.splice(first..first + sources.len(), merged);
        });
        let old: Vec<String> = sources.iter().flat_map(|source| source.info.files()).collect();
        self.remove(&old);
        Ok(())
    }

    /// Writes a segment of the points that `fill` gives and opens it; `None` if there were none. `ids` are theirs, in
    /// order. The manifest to be gets the next number.
    fn write_segment(
        &self,
        next: &mut Manifest,
        fill: impl FnOnce(&mut Push<'_>) -> Result<(), WriteError>,
        ids: impl Iterator<Item = Result<(PointId, RowId), StorageError>>,
    ) -> Result<Option<Arc<Segment>>, WriteError> {
        let number = next.next_number;
        next.next_number += 1;
        let written = self.try_write_segment(next, number, fill, ids);
        if written.is_err() {
            // The number is used up only if files of it are left; they are removed when the collection opens.
            self.remove(&SegmentInfo::all_files(number, self.schema.len()));
        }
        written
    }

    fn try_write_segment(
        &self,
        next: &Manifest,
        number: u64,
        fill: impl FnOnce(&mut Push<'_>) -> Result<(), WriteError>,
        ids: impl Iterator<Item = Result<(PointId, RowId), StorageError>>,
    ) -> Result<Option<Arc<Segment>>, WriteError> {
        let mut writer: Option<SegmentWriter<'_>> = None;
        fill(&mut |point| {
            if writer.is_none() {
                let disk = self.disk.as_ref();
                writer = Some(SegmentWriter::create(disk, next.store_id, &self.schema, number)?);
            }
            match &mut writer {
                Some(writer) => Ok(writer.push(point)?),
                None => Ok(()),
            }
        })?;
        let Some(writer) = writer else { return Ok(None) };
        let info = writer.finish(ids)?;
        let segment = Segment::open(&self.disk, next.store_id, &self.schema, info, &self.cache)?;
        Ok(Some(Arc::new(segment)))
    }

    /// Makes a manifest the one that counts.
    fn adopt(&self, manifest: &mut Manifest, next: Manifest) -> Result<(), WriteError> {
        self.cleaning_up(&next, manifest, |next| {
            self.disk.sync_dir()?;
            Ok(next.write(self.disk.as_ref())?)
        })?;
        *manifest = next;
        Ok(())
    }

    /// Does a step on the way to the next manifest; if it fails, the files that only that one names go.
    fn cleaning_up(
        &self,
        next: &Manifest,
        now: &Manifest,
        step: impl FnOnce(&Manifest) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let done = step(next);
        if done.is_err() {
            // A manifest whose last step failed may be the one on disk: then its files must stay.
            let on_disk = Manifest::read(self.disk.as_ref());
            if on_disk.is_ok_and(|on_disk| on_disk == *now) {
                let known = now.files();
                let new: Vec<String> =
                    next.files().into_iter().filter(|name| !known.contains(name)).collect();
                self.remove(&new);
            }
        }
        done
    }

    /// Changes what readers see beside what writers change.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let _writer = locked(&self.writer);
        let mut state = (*self.state()).clone();
        change(&mut state);
        self.publish(state);
    }

    /// Removes files that no manifest names. What cannot be removed now is, when the collection opens.
    fn remove(&self, names: &[String]) {
        for name in names {
            let _ = self.disk.remove(name);
        }
    }
}

/// Takes a point into a segment.
type Push<'a> = dyn FnMut(&Stored) -> Result<(), WriteError> + 'a;

fn copy_live(source: &Segment, state: &State, write: &mut Push<'_>) -> Result<(), WriteError> {
    for point in source.scan() {
        let (row, id, payload) = point?;
        if !state.is_dead(row) {
            write(&Stored { row, id, vectors: source.vectors_of(row)?, payload })?;
        }
    }
    Ok(())
}

fn is_live(row: &[u8], state: &State) -> bool {
    // A row that is none is found when it is decoded.
    row_of(row, Path::new("ids")).map_or(true, |row| !state.is_dead(row))
}

fn id_and_row((key, value): &(Vec<u8>, Vec<u8>)) -> Result<(PointId, RowId), StorageError> {
    decode_id_row(key, value, Path::new("ids"))
}

/// Points of a segment that died since it was written.
pub(super) fn dead_points(info: &SegmentInfo, state: &State) -> u64 {
    let (first, last) = (info.first.0, info.last.0);
    let absent = u64::from(last - first) + 1 - info.points;
    // Rows that are not in it died before, but for the few that were never given to a point.
    state.dead.range_cardinality(first..=last).saturating_sub(absent)
}
