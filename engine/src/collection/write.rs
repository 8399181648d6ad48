//! Writing: check, resolve, log, apply, publish.
//!
//! Whatever can be wrong with a call is found before anything is written. Calls that come at the same time are put
//! together: one of them writes the log for all, with one sync.

mod edit;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use nearline_index::RowId;
use nearline_storage::StorageError;

use super::{Collection, Inner, Writer, is_fatal, locked};
use crate::error::{QueryError, WriteError};
use crate::filter::{Checked, Filter};
use crate::point::{Point, Vector};
use crate::point_id::PointId;
use crate::record::{Change, Stored, Vectors, encode_changes};
use crate::state::State;
use crate::value::Payload;
use edit::{Edit, edited};

/// Bytes of a call in the log at most.
const CALL_BYTES_MAX: u64 = 200 << 20;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it survives a loss of power.
    #[default]
    Synced,
    /// When it is in the log's file: it survives the end of this process, not that of the machine. The next synced write
    /// takes it along.
    Buffered,
}

/// Which points are meant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Selector {
    /// Those of these ids, as far as there are any.
    Ids(Vec<PointId>),
    /// Those that match.
    Filter(Filter),
}

impl From<Filter> for Selector {
    fn from(filter: Filter) -> Self {
        Self::Filter(filter)
    }
}

impl<I: Into<PointId>> FromIterator<I> for Selector {
    fn from_iter<T: IntoIterator<Item = I>>(ids: T) -> Self {
        Self::Ids(ids.into_iter().map(Into::into).collect())
    }
}

impl<I: Into<PointId>, const N: usize> From<[I; N]> for Selector {
    fn from(ids: [I; N]) -> Self {
        ids.into_iter().collect()
    }
}

impl<I: Into<PointId>> From<Vec<I>> for Selector {
    fn from(ids: Vec<I>) -> Self {
        ids.into_iter().collect()
    }
}

/// Which points of an upsert are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateMode {
    /// All.
    #[default]
    Upsert,
    /// Only those whose ids are new.
    InsertOnly,
    /// Only those whose ids are there.
    UpdateOnly,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteReport {
    /// The number of the write; later ones have higher numbers.
    pub lsn: u64,
    /// Points that were written or deleted.
    pub points: u64,
}

/// A call that waits to be written.
#[derive(Debug)]
pub(super) struct Item {
    request: Request,
    durability: Durability,
}

#[derive(Debug)]
enum Request {
    Upsert(Vec<NewPoint>, UpdateMode, Option<Checked>),
    Delete(Chosen),
    Edit(Chosen, Edit),
    /// Each point its own edits, one after the other.
    EditEach(BTreeMap<PointId, Vec<Edit>>, Option<Checked>),
}

/// A point whose vectors are known to fit.
#[derive(Debug)]
struct NewPoint {
    id: PointId,
    vectors: Vectors,
    payload: Payload,
}

/// A selector whose filter is known to be right.
#[derive(Debug)]
enum Chosen {
    Ids(Vec<PointId>),
    Filter(Checked),
}

impl Collection {
    /// Writes points: new ones, and in place of those with the same ids. Of an id that comes twice, the last counts.
    /// All of them or none.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is written then.
    pub fn upsert(&self, points: impl IntoIterator<Item = Point>) -> Result<WriteReport, WriteError> {
        self.upsert_with(points, Durability::Synced)
    }

    /// As [`Collection::upsert`], acknowledged as asked for.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn upsert_with(
        &self,
        points: impl IntoIterator<Item = Point>,
        durability: Durability,
    ) -> Result<WriteReport, WriteError> {
        self.upsert_if(points, UpdateMode::Upsert, None, durability)
    }

    /// As [`Collection::upsert_with`], of some of the points: as the mode says, and, in place of points that are there, only if
    /// those match. Whether they do is decided at the moment of the write, whoever else writes.
    ///
    /// ```
    /// # use nearline::*;
    /// # let folder = std::env::temp_dir().join(format!("nearline-doc-upsert-if-{}", std::process::id()));
    /// # let database = Database::builder(&folder).open()?;
    /// # let on = database.create_collection("c", Schema::new())?;
    /// let point = |version: u64| Point::new(1).payload(Payload::new().with("version", version));
    /// on.upsert([point(7)])?;
    /// let older = |version: u64| Filter::must([Condition::range("version").lt(version)]);
    /// let write = |version| on.upsert_if([point(version)], UpdateMode::Upsert, Some(&older(version)), Durability::Synced);
    /// assert_eq!((write(6)?.points, write(8)?.points), (0, 1));
    /// # drop((on, database));
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn upsert_if(
        &self,
        points: impl IntoIterator<Item = Point>,
        mode: UpdateMode,
        filter: Option<&Filter>,
        durability: Durability,
    ) -> Result<WriteReport, WriteError> {
        let inner = &self.shared.inner;
        let filter = filter.map(|filter| inner.reader(&inner.state()).check(filter)).transpose()?;
        let points = points.into_iter().map(|point| self.check_point(point)).collect::<Result<_, _>>()?;
        self.submit(Request::Upsert(points, mode, filter), durability)
    }

    /// Makes everything that was written before durable, as the next synced write would.
    ///
    /// # Errors
    /// When the disk fails: the collection takes no more writes then.
    pub fn sync(&self) -> Result<(), WriteError> {
        let inner = &self.shared.inner;
        let request = Request::Upsert(Vec::new(), UpdateMode::Upsert, None);
        let item = Item { request, durability: Durability::Synced };
        inner.group.submit(item, |items| inner.commit(items)).map(drop)
    }

    /// Deletes points. Those that are not there are passed over.
    ///
    /// # Errors
    /// [`WriteError`]; nothing is deleted then.
    pub fn delete(&self, points: impl Into<Selector>) -> Result<WriteReport, WriteError> {
        self.submit(Request::Delete(self.check_selector(points.into())?), Durability::Synced)
    }

    fn submit(&self, request: Request, durability: Durability) -> Result<WriteReport, WriteError> {
        let inner = &self.shared.inner;
        inner.wait_for_room()?;
        inner.wait_for_lists();
        *locked(&inner.written) = Some(std::time::Instant::now());
        inner.group.submit(Item { request, durability }, |items| inner.commit(items))
    }

    fn check_selector(&self, points: Selector) -> Result<Chosen, WriteError> {
        let inner = &self.shared.inner;
        Ok(match points {
            Selector::Ids(ids) => Chosen::Ids(ids),
            Selector::Filter(filter) => Chosen::Filter(inner.reader(&inner.state()).check(&filter)?),
        })
    }

    fn check_point(&self, point: Point) -> Result<NewPoint, WriteError> {
        let mut vectors: Vectors = (0..self.schema().len()).map(|_| None).collect();
        for (name, vector) in &point.vectors {
            vectors[self.find_vector(point.id, name)?] = Some(self.encode_vector(point.id, name, vector)?);
        }
        check_payload(point.id, &point.payload)?;
        Ok(NewPoint { id: point.id, vectors, payload: point.payload })
    }

    fn find_vector(&self, id: impl Display, name: &str) -> Result<usize, WriteError> {
        self.schema().find(name).map(|(at, _)| at).ok_or_else(|| WriteError::Vector {
            id: id.to_string(),
            name: name.to_owned(),
            found: "a name that is not in the schema".to_owned(),
            expected: self.schema().names(),
        })
    }

    fn encode_vector(&self, id: impl Display, name: &str, vector: &Vector) -> Result<Box<[u8]>, WriteError> {
        let wrong = |(found, expected)| WriteError::Vector {
            id: id.to_string(),
            name: name.to_owned(),
            found,
            expected,
        };
        let unknown = || ("a name that is not in the schema".to_owned(), self.schema().names());
        let config = self.schema().find(name).map(|(_, config)| config);
        config.ok_or_else(unknown).and_then(|config| config.encode(vector)).map_err(wrong)
    }
}

fn check_payload(id: impl Display, payload: &Payload) -> Result<(), WriteError> {
    payload.check().map_err(|source| WriteError::Payload { id: id.to_string(), source })
}

impl Inner {
    /// Writes a group of calls: each into the log, then one sync, then all into the state.
    fn commit(&self, items: Vec<Item>) -> Vec<Result<WriteReport, WriteError>> {
        let mut writer = locked(&self.writer);
        let mut state = (*self.state()).clone();
        let wants_sync = items.iter().any(|item| item.durability == Durability::Synced);
        let mut results: Vec<Result<WriteReport, WriteError>> =
            items.into_iter().map(|item| self.log(&mut writer, &mut state, item.request)).collect();
        let kept = match wants_sync {
            true if state.lsn <= writer.wal.durable_lsn() => Ok(()),
            true => writer.wal.sync().map(drop),
            false => writer.wal.flush(),
        };
        if let Err(error) = kept {
            let error = refused(error);
            results
                .iter_mut()
                .filter(|result| result.is_ok())
                .for_each(|result| *result = Err(error.clone()));
            return results;
        }
        let is_full = state.delta_bytes() >= self.limits.flush_bytes || state.logged >= self.limits.log_bytes;
        self.publish(state);
        drop(writer);
        if is_full {
            self.wake();
        }
        results
    }

    /// Turns a call into changes, appends them to the log and applies them to a state that nobody sees yet.
    fn log(
        &self,
        writer: &mut Writer,
        state: &mut State,
        request: Request,
    ) -> Result<WriteReport, WriteError> {
        let first = writer.next_row;
        let changes = match self.resolve(state, writer, request) {
            Ok(changes) => changes,
            Err(error) => {
                writer.next_row = first;
                return Err(error);
            }
        };
        let points = changes.len() as u64;
        if points == 0 {
            return Ok(WriteReport { lsn: state.lsn, points });
        }
        let bytes = encode_changes(&changes);
        if bytes.len() as u64 > CALL_BYTES_MAX {
            writer.next_row = first;
            let found = bytes.len() as u64;
            return Err(WriteError::TooLarge { what: "bytes of one call", found, max: CALL_BYTES_MAX });
        }
        match writer.wal.append(&[&bytes]) {
            Ok(lsn) => {
                state.apply(&changes, lsn, bytes.len());
                Ok(WriteReport { lsn, points })
            }
            Err(error) => {
                writer.next_row = first;
                Err(refused(error))
            }
        }
    }

    fn resolve(
        &self,
        state: &State,
        writer: &mut Writer,
        request: Request,
    ) -> Result<Vec<Change>, WriteError> {
        match request {
            Request::Upsert(mut points, mode, filter) => {
                // The last of an id counts, of those that are new only the first is; they get their rows in the order they came.
                let mut counts: BTreeMap<PointId, usize> = BTreeMap::new();
                for (at, point) in points.iter().enumerate() {
                    let first = counts.entry(point.id).or_insert(at);
                    if mode != UpdateMode::InsertOnly {
                        *first = at;
                    }
                }
                let mut at = 0..;
                points.retain(|point| counts.get(&point.id).copied() == at.next());
                let mut changes = Vec::with_capacity(points.len());
                for point in points {
                    if self.is_wanted(state, point.id, mode, filter.as_ref())? {
                        changes.push(put(state, writer, point)?);
                    }
                }
                Ok(changes)
            }
            Request::Delete(chosen) => {
                let rows = self.rows_of(state, &chosen)?;
                Ok(rows.into_iter().map(|row| Change::Delete { row }).collect())
            }
            Request::Edit(chosen, edit) => {
                let rows = self.rows_of(state, &chosen)?;
                let mut changes = Vec::with_capacity(rows.len());
                for row in rows {
                    let Some(old) = state.stored(row)? else { continue };
                    let edited = edited(&old, std::slice::from_ref(&edit))?;
                    changes.push(put(state, writer, edited)?);
                }
                Ok(changes)
            }
            Request::EditEach(edits, filter) => {
                let mut changes = Vec::with_capacity(edits.len());
                for (id, edits) in edits {
                    let row = state.find(id)?;
                    let Some(old) = row.map(|row| state.stored(row)).transpose()?.flatten() else { continue };
                    if filter.as_ref().is_some_and(|filter| !self.is_match(filter, &old)) {
                        continue;
                    }
                    changes.push(put(state, writer, edited(&old, &edits)?)?);
                }
                Ok(changes)
            }
        }
    }

    /// Whether a point is to be written in place of what its id has now.
    fn is_wanted(
        &self,
        state: &State,
        id: PointId,
        mode: UpdateMode,
        filter: Option<&Checked>,
    ) -> Result<bool, WriteError> {
        if mode == UpdateMode::Upsert && filter.is_none() {
            return Ok(true);
        }
        let Some(row) = state.find(id)? else { return Ok(mode != UpdateMode::UpdateOnly) };
        if mode == UpdateMode::InsertOnly {
            return Ok(false);
        }
        let (Some(filter), Some(old)) = (filter, state.stored(row)?) else { return Ok(true) };
        Ok(self.is_match(filter, &old))
    }

    fn is_match(&self, filter: &Checked, point: &Stored) -> bool {
        let has_vector =
            |name: &str| self.schema.find(name).is_some_and(|(at, _)| point.vectors[at].is_some());
        filter.matches(point.id, &point.payload, has_vector)
    }

    /// The rows of points that are there, each once, in ascending order.
    fn rows_of(&self, state: &State, chosen: &Chosen) -> Result<Vec<RowId>, WriteError> {
        let mut rows = Vec::new();
        match chosen {
            Chosen::Ids(ids) => {
                for &id in ids {
                    rows.extend(state.find(id)?);
                }
            }
            Chosen::Filter(filter) => {
                let (matching, _) = self.reader(state).matching(filter).map_err(|error| match error {
                    QueryError::Storage(error) => WriteError::Storage(error),
                    QueryError::Index(error) => WriteError::Index(error),
                    // Filters were checked before, and there is nothing else.
                    _ => unreachable!("{error}"),
                })?;
                rows.extend(matching.iter().map(RowId));
            }
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }
}

/// A new row for a point, in place of what its id has now.
fn put(state: &State, writer: &mut Writer, point: NewPoint) -> Result<Change, WriteError> {
    let NewPoint { id, vectors, payload } = point;
    let row = writer.next_row;
    if row.0 == u32::MAX {
        let max = u64::from(u32::MAX);
        return Err(WriteError::TooLarge {
            what: "rows ever written to the collection",
            found: max + 1,
            max,
        });
    }
    let replaced = state.find(id)?;
    writer.next_row = RowId(row.0 + 1);
    Ok(Change::Put { point: Arc::new(Stored { row, id, vectors, payload }), replaced })
}

/// What a failure of the log means for a call.
pub(super) fn refused(error: StorageError) -> WriteError {
    let fatal = is_fatal(&error);
    let error = Arc::new(error);
    if fatal { WriteError::Poisoned { cause: error } } else { WriteError::Storage(error) }
}
