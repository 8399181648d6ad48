//! Points in the order of a field's values: by asking every payload, and keeping the first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use nearline_index::RowId;
use roaring::RoaringBitmap;

use super::Reader;
use crate::error::QueryError;
use crate::filter::parse_datetime;
use crate::path::{FieldPath, elements_at};
use crate::point_id::PointId;
use crate::value::{Number, Payload, Value};

/// The field whose values decide the order of points, and where to begin.
///
/// Numbers and moments (strings in the forms of RFC 3339) have an order, numbers before moments; points without either
/// are left out. A point with several values, in an array, comes once for each that differs from the others. Points of
/// equal values come in the order of their ids.
///
/// ```
/// use nearline::{OrderBy, Scroll};
///
/// let newest = Scroll::new().order_by(OrderBy::descending("published").start_from("2024-02-29T12:00:00Z"));
/// let cheapest = Scroll::new().order_by(OrderBy::ascending("price"));
/// # let _ = (newest, cheapest);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OrderBy {
    path: String,
    descends: bool,
    start_from: Option<Value>,
}

impl OrderBy {
    /// The lowest value first. The path is that of a condition.
    pub fn ascending(path: impl Into<String>) -> Self {
        Self { path: path.into(), descends: false, start_from: None }
    }

    /// The highest value first.
    pub fn descending(path: impl Into<String>) -> Self {
        Self { descends: true, ..Self::ascending(path) }
    }

    /// From this number or moment on, points that have it included.
    pub fn start_from(mut self, value: impl Into<Value>) -> Self {
        self.start_from = Some(value.into());
        self
    }

    fn check(&self) -> Result<Order, QueryError> {
        let bad =
            |what, found, expected: &str| QueryError::Bad { what, found, expected: expected.to_owned() };
        let path = self.path.parse().map_err(|error: crate::path::PathError| {
            bad("path to order by", error.to_string(), "a path such as price or rooms[].beds")
        })?;
        let from = self.start_from.as_ref().map(|value| {
            let expected = "a number, or a moment such as 2024-02-29T12:00:00Z";
            Key::of(value).ok_or_else(|| bad("value to start from", format!("{value:?}"), expected))
        });
        Ok(Order { path, descends: self.descends, from: from.transpose()? })
    }
}

/// An order that is known to be right.
struct Order {
    path: FieldPath,
    descends: bool,
    from: Option<Key>,
}

impl Order {
    /// Whether a value comes before where the order begins, or is of the other kind.
    fn is_before(&self, key: Key) -> bool {
        self.from.is_some_and(|from| match (key, from) {
            (Key::Number(_), Key::Moment(_)) | (Key::Moment(_), Key::Number(_)) => true,
            _ if self.descends => key.compare(from).is_gt(),
            _ => key.compare(from).is_lt(),
        })
    }
}

/// A value that has a place in the order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Key {
    Number(Number),
    /// Microseconds since 1970.
    Moment(i64),
}

impl Key {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) if number.is_finite() => Some(Self::Number(*number)),
            Value::String(text) => parse_datetime(text).map(Self::Moment),
            _ => None,
        }
    }

    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            // All of them are finite.
            (Self::Number(a), Self::Number(b)) => a.compare(b).unwrap_or(Ordering::Equal),
            (Self::Moment(a), Self::Moment(b)) => a.cmp(&b),
            (Self::Number(_), Self::Moment(_)) => Ordering::Less,
            (Self::Moment(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

/// One value of a point. The lesser comes first.
struct Ranked {
    key: Key,
    descends: bool,
    id: PointId,
    row: RowId,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = self.key.compare(other.key);
        let by_key = if self.descends { by_key.reverse() } else { by_key };
        by_key.then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

/// The first of all that was offered.
struct First {
    order: Order,
    limit: usize,
    /// The last of them on top.
    heap: BinaryHeap<Ranked>,
}

impl First {
    fn offer(&mut self, row: RowId, id: PointId, payload: &Payload) {
        let keys = elements_at(payload, &self.order.path).filter_map(Key::of);
        let mut keys: Vec<Key> = keys.filter(|key| !self.order.is_before(*key)).collect();
        keys.sort_by(|a, b| a.compare(*b));
        keys.dedup_by(|a, b| a.compare(*b).is_eq());
        for key in keys {
            self.heap.push(Ranked { key, descends: self.order.descends, id, row });
            if self.heap.len() > self.limit {
                self.heap.pop();
            }
        }
    }
}

impl Reader<'_> {
    /// The first of some rows in an order, so many at most, each with the value that put it there.
    pub(super) fn ordered(
        &self,
        order: &OrderBy,
        among: Option<&RoaringBitmap>,
        limit: usize,
    ) -> Result<Vec<(RowId, Value)>, QueryError> {
        let order = order.check()?;
        let is_wanted = |row: RowId| match among {
            Some(rows) => rows.contains(row.0),
            None => !self.state.is_dead(row),
        };
        let mut first = First { order, limit, heap: BinaryHeap::new() };
        for segment in &self.state.segments {
            for point in segment.scan() {
                let (row, id, payload) = point?;
                if is_wanted(row) {
                    first.offer(row, id, &payload);
                }
            }
        }
        for point in self.state.live_in_memory().filter(|point| is_wanted(point.row)) {
            first.offer(point.row, point.id, &point.payload);
        }
        let (ranked, path) = (first.heap.into_sorted_vec(), first.order.path);
        let rows: Vec<RowId> = ranked.iter().map(|ranked| ranked.row).collect();
        let documents = self.documents(&rows)?;
        let value = |(ranked, (_, payload)): (&Ranked, (PointId, Payload))| {
            let is_it = |value: &&Value| Key::of(value).is_some_and(|key| key.compare(ranked.key).is_eq());
            (ranked.row, elements_at(&payload, &path).find(is_it).cloned().unwrap_or_default())
        };
        Ok(ranked.iter().zip(documents).map(value).collect())
    }
}
