//! Points by their ids: getting some, going through all, counting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;
use std::path::Path;

use nearline_index::RowId;
use nearline_storage::StorageError;

use super::select::{Doubt, FilterReport};
use super::{Collection, OrderBy, Reader};
use crate::error::{OpenError, QueryError};
use crate::filter::{Checked, Filter};
use crate::point::{Point, Vector};
use crate::point_id::PointId;
use crate::record::Vectors;
use crate::state::State;
use crate::value::{Payload, Value};

/// Points of a page unless told otherwise, and at most.
const PAGE: usize = 10;
const PAGE_MAX: usize = 1 << 16;
/// Points looked at together while a filter is asked.
const CHUNK: usize = 256;

/// How to go through all points, in order of their ids or of a field's values.
///
/// ```
/// use nearline::Scroll;
///
/// let scroll = Scroll::new().limit(100).with_vectors(false);
/// # let _ = scroll;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Scroll {
    from: Option<PointId>,
    limit: usize,
    filter: Option<Filter>,
    with_vectors: bool,
    order: Option<OrderBy>,
}

impl Default for Scroll {
    fn default() -> Self {
        Self { from: None, limit: PAGE, filter: None, with_vectors: true, order: None }
    }
}

impl Scroll {
    /// All points, ten at a time, with payloads and vectors.
    pub fn new() -> Self {
        Self::default()
    }

    /// From this id on: the [`Page::next`] of the page before.
    pub fn from(mut self, id: impl Into<PointId>) -> Self {
        self.from = Some(id.into());
        self
    }

    /// So many points a page.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Only points that match.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// In the order of a field's values. Such pages have no [`Page::next`]: for more, start from the last of
    /// [`Page::order_values`] and leave out, by a filter, the points of that value that were met.
    pub fn order_by(mut self, order: OrderBy) -> Self {
        self.order = Some(order);
        self
    }

    /// Whether vectors are wanted.
    pub fn with_vectors(mut self, wanted: bool) -> Self {
        self.with_vectors = wanted;
        self
    }
}

/// Some points of a scroll.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// The points, in order of their ids or as asked for.
    pub points: Vec<Point>,
    /// Of points in the order of a field: for each the value that put it there.
    pub order_values: Vec<Value>,
    /// Where the next page begins, if there is one.
    pub next: Option<PointId>,
}

impl Collection {
    /// Points by their ids, in the order asked for; those that are not there are left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn get<I: Into<PointId>>(&self, ids: impl IntoIterator<Item = I>) -> Result<Vec<Point>, QueryError> {
        self.points_by_id(ids.into_iter().map(Into::into).collect(), true)
    }

    /// As [`Collection::get`], without the vectors: no more is read than payloads.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn get_payloads<I: Into<PointId>>(
        &self,
        ids: impl IntoIterator<Item = I>,
    ) -> Result<Vec<Point>, QueryError> {
        self.points_by_id(ids.into_iter().map(Into::into).collect(), false)
    }

    fn points_by_id(&self, ids: Vec<PointId>, with_vectors: bool) -> Result<Vec<Point>, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).get(&ids, with_vectors)
    }

    /// A page of points in order of their ids, of one moment. Pages of a scroll are of different moments: points written
    /// meanwhile may or may not be in a later page, points that stay are in exactly one.
    ///
    /// # Errors
    /// When an option is out of range or a file cannot be read.
    pub fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).scroll(scroll)
    }

    /// The number of points that match, or of all.
    ///
    /// # Errors
    /// When the filter is wrong or a file cannot be read.
    pub fn count(&self, filter: Option<&Filter>) -> Result<u64, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).count(filter)
    }
}

/// The first points, so many, of those that match.
fn first_matching(
    mut points: impl Iterator<Item = Result<(PointId, RowId), StorageError>>,
    mut doubt: Option<&mut Doubt<'_>>,
    wanted: usize,
) -> Result<Vec<(PointId, RowId)>, QueryError> {
    let mut found = Vec::new();
    // Looked at together, more and more: the fewer match, the more are needed.
    let mut together = wanted.max(CHUNK);
    loop {
        let mut some = points.by_ref().take(together).collect::<Result<Vec<_>, _>>()?;
        let is_last = some.len() < together;
        if let Some(doubt) = &mut doubt {
            doubt.settle(&some.iter().map(|(_, row)| row.0).collect())?;
            some.retain(|(_, row)| doubt.certain.contains(row.0));
        }
        found.extend(some);
        if is_last || found.len() >= wanted {
            found.truncate(wanted);
            return Ok(found);
        }
        together = (2 * together).min(PAGE_MAX);
    }
}

type Ids<'a> = Box<dyn Iterator<Item = Result<(PointId, RowId), StorageError>> + 'a>;

/// All points that are not dead, in order of their ids.
fn by_id(
    state: &State,
    from: Bound<PointId>,
) -> impl Iterator<Item = Result<(PointId, RowId), StorageError>> {
    let is_before = move |id: PointId| match from {
        Bound::Included(from) => id < from,
        Bound::Excluded(from) => id <= from,
        Bound::Unbounded => false,
    };
    let of_run = move |run: &'_ std::sync::Arc<crate::state::Run>| -> Vec<(PointId, RowId)> {
        run.by_id().map(|point| (point.id, point.row)).filter(|(id, _)| !is_before(*id)).collect()
    };
    let runs = state.newest_runs().map(|run| Box::new(of_run(run).into_iter().map(Ok)) as Ids<'_>);
    let segments = state.segments.iter().map(|segment| Box::new(segment.ids_from(from)) as Ids<'_>);
    let sources: Vec<Ids<'_>> = runs.chain(segments).collect();
    ById::new(sources).filter(|found| found.as_ref().map_or(true, |(_, row)| !state.is_dead(*row)))
}

/// Several lists of ids in order as one. An id that is in several comes once for each; all but one of its rows are dead.
struct ById<'a> {
    sources: Vec<Ids<'a>>,
    heads: BinaryHeap<Reverse<(PointId, RowId, usize)>>,
    failed: Option<StorageError>,
}

impl<'a> ById<'a> {
    fn new(sources: Vec<Ids<'a>>) -> Self {
        let mut all = Self { heads: BinaryHeap::new(), failed: None, sources };
        (0..all.sources.len()).for_each(|source| all.pull(source));
        all
    }

    fn pull(&mut self, source: usize) {
        match self.sources[source].next() {
            Some(Ok((id, row))) => self.heads.push(Reverse((id, row, source))),
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
    }
}

impl Iterator for ById<'_> {
    type Item = Result<(PointId, RowId), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heads.clear();
            return Some(Err(error));
        }
        let Reverse((id, row, source)) = self.heads.pop()?;
        self.pull(source);
        Some(Ok((id, row)))
    }
}

impl Reader<'_> {
    pub(super) fn get(&self, ids: &[PointId], with_vectors: bool) -> Result<Vec<Point>, QueryError> {
        let (points, are_right) = self.points_of(ids, with_vectors)?;
        match &self.state.tier {
            Some(tier) if !are_right => {
                tier.doubt("the row of another point");
                let by_tables = State { tier: None, ..self.state.clone() };
                Ok(Reader { state: &by_tables, ..*self }.points_of(ids, with_vectors)?.0)
            }
            _ => Ok(points),
        }
    }

    pub(super) fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError> {
        if scroll.limit == 0 || scroll.limit > PAGE_MAX {
            let (found, expected) = (scroll.limit.to_string(), format!("1 to {PAGE_MAX}"));
            return Err(QueryError::Bad { what: "limit of a page", found, expected });
        }
        let checked = scroll.filter.as_ref().map(|filter| self.check(filter)).transpose()?;
        if let Some(order) = &scroll.order {
            return self.ordered_page(scroll, order, checked.as_ref());
        }
        let mut doubt = checked.as_ref().map(|filter| self.doubt(filter)).transpose()?;
        let from = scroll.from.map_or(Bound::Unbounded, Bound::Included);
        // One more than fits tells where the next page begins.
        let mut found = first_matching(by_id(self.state, from), doubt.as_mut(), scroll.limit + 1)?;
        let next = if found.len() > scroll.limit { found.pop().map(|(id, _)| id) } else { None };
        let rows: Vec<RowId> = found.into_iter().map(|(_, row)| row).collect();
        let points = self.points(&rows, scroll.with_vectors)?;
        Ok(Page { points, order_values: Vec::new(), next })
    }

    /// The rows of the first points in order of their ids, so many at most, of those that match; and what the filter took.
    pub(super) fn first_by_id(
        &self,
        filter: Option<&Checked>,
        wanted: usize,
    ) -> Result<(Vec<RowId>, FilterReport), QueryError> {
        let mut doubt = filter.map(|filter| self.doubt(filter)).transpose()?;
        let found = first_matching(by_id(self.state, Bound::Unbounded), doubt.as_mut(), wanted)?;
        let report = doubt.map(|doubt| doubt.report()).unwrap_or_default();
        Ok((found.into_iter().map(|(_, row)| row).collect(), report))
    }

    pub(super) fn count(&self, filter: Option<&Filter>) -> Result<u64, QueryError> {
        match filter {
            None => Ok(self.state.live),
            Some(filter) => Ok(self.matching(&self.check(filter)?)?.0.len()),
        }
    }

    fn ordered_page(
        &self,
        scroll: &Scroll,
        order: &OrderBy,
        filter: Option<&Checked>,
    ) -> Result<Page, QueryError> {
        if let Some(id) = scroll.from {
            let expected = "no id with order_by: start from a value instead".to_owned();
            return Err(QueryError::Bad { what: "id to scroll from", found: id.to_string(), expected });
        }
        let among = filter.map(|filter| self.matching(filter)).transpose()?.map(|(rows, _)| rows);
        let (rows, order_values): (Vec<RowId>, Vec<Value>) =
            self.ordered(order, among.as_ref(), scroll.limit)?.into_iter().unzip();
        let points = self.points(&rows, scroll.with_vectors)?;
        Ok(Page { points, order_values, next: None })
    }

    /// Whole points of ids, those that are there. Says whether they are of these ids: they are read anyway.
    fn points_of(&self, ids: &[PointId], with_vectors: bool) -> Result<(Vec<Point>, bool), QueryError> {
        let (mut wanted, mut rows) = (Vec::new(), Vec::new());
        for &id in ids {
            if let Some(row) = self.state.find(id)? {
                wanted.push(id);
                rows.push(row);
            }
        }
        let points = self.points(&rows, with_vectors)?;
        let are_right = points.iter().map(|point| point.id).eq(wanted);
        Ok((points, are_right))
    }

    /// Whole points of rows that are there, in their order.
    fn points(&self, rows: &[RowId], with_vectors: bool) -> Result<Vec<Point>, QueryError> {
        let mut points = Vec::with_capacity(rows.len());
        for rows in rows.chunks(CHUNK) {
            for (&row, (id, payload)) in rows.iter().zip(self.documents(rows)?) {
                let vectors = if with_vectors { self.vectors(row)? } else { BTreeMap::new() };
                points.push(Point { id, vectors, payload });
            }
        }
        Ok(points)
    }

    /// Ids and payloads of rows that are there, in their order.
    pub(super) fn documents(&self, rows: &[RowId]) -> Result<Vec<(PointId, Payload)>, QueryError> {
        let state = self.state;
        let mut found: Vec<Option<(PointId, Payload)>> = rows
            .iter()
            .map(|&row| state.in_memory(row).map(|point| (point.id, point.payload.clone())))
            .collect();
        for segment in &state.segments {
            let places: Vec<usize> =
                (0..rows.len()).filter(|&at| found[at].is_none() && segment.covers(rows[at])).collect();
            if places.is_empty() {
                continue;
            }
            let wanted: Vec<RowId> = places.iter().map(|&at| rows[at]).collect();
            for (at, document) in places.into_iter().zip(segment.documents(&wanted)?) {
                found[at] = document;
            }
        }
        let missing = |row: &RowId| {
            let covering = state.segments.iter().find(|segment| segment.covers(*row));
            let path = covering.map_or(Path::new("points"), |segment| segment.path());
            StorageError::corrupt(path, 0, "row without a point", row.0.into(), row.0.into())
        };
        let all = found.into_iter().zip(rows).map(|(found, row)| found.ok_or_else(|| missing(row)));
        Ok(all.collect::<Result<_, _>>()?)
    }

    /// The vectors of a row that is there.
    pub(super) fn vectors(&self, row: RowId) -> Result<BTreeMap<String, Vector>, QueryError> {
        let stored = match self.state.in_memory(row) {
            Some(point) => point.vectors.clone(),
            None => self.flushed_vectors(row)?,
        };
        let named = self.schema.vectors().zip(stored);
        Ok(named
            .filter_map(|((name, config), bytes)| {
                Some((name.to_owned(), Vector::from_bytes(&bytes?, config.element)))
            })
            .collect())
    }

    fn flushed_vectors(&self, row: RowId) -> Result<Vectors, QueryError> {
        let segment = self.state.segments.iter().find(|segment| segment.covers(row));
        let vectors = segment.map(|segment| segment.vectors_of(row)).transpose();
        let vectors = vectors.map_err(|error| match error {
            OpenError::Index(error) => QueryError::Index(error),
            OpenError::Storage(error) => QueryError::Storage(error),
            other => {
                QueryError::Bad { what: "row", found: other.to_string(), expected: "a vector".to_owned() }
            }
        })?;
        Ok(vectors.unwrap_or_default())
    }
}
