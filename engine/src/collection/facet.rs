//! How many points have each value of a field.

use std::cmp::Reverse;
use std::collections::HashMap;

use roaring::RoaringBitmap;

use super::select::part_of;
use super::{Collection, Reader};
use crate::error::QueryError;
use crate::field::ValueKeys;
use crate::filter::Filter;
use crate::path::{FieldPath, elements_at};
use crate::value::{Number, Payload, Value};

/// Different values that are counted at most.
pub const FACET_VALUES_MAX: usize = 1 << 20;
/// Values handed out unless told otherwise.
const LIMIT: usize = 10;

/// Which values are counted, of which points. Values are strings, integers and bools; a point of several counts for each of
/// them once.
///
/// ```
/// use nearline::{Condition, Facet, Filter};
///
/// let cities = Facet::of("city").limit(3).filter(Filter::must([Condition::range("price").lt(20)]));
/// # let _ = cities;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Facet {
    path: String,
    limit: usize,
    filter: Option<Filter>,
}

impl Facet {
    /// The ten most frequent values at a path.
    pub fn of(path: impl Into<String>) -> Self {
        Self { path: path.into(), limit: LIMIT, filter: None }
    }

    /// So many values.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Only of points that match.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }
}

/// A value, and how many points have it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FacetHit {
    /// A string, an integer or a bool.
    pub value: Value,
    /// The number of points, exactly.
    pub count: u64,
}

/// A value in the order of answers: bools, integers, strings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Bool(bool),
    Integer(i128),
    Text(String),
}

impl Key {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => number.as_i128().map(Self::Integer),
            Value::String(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        match self {
            Self::Bool(value) => value.into(),
            Self::Text(text) => text.into(),
            Self::Integer(integer) => {
                let number = i64::try_from(integer).map(Number::from);
                number.unwrap_or_else(|_| Number::from(integer as u64)).into()
            }
        }
    }
}

/// Values counted so far.
struct Counts {
    path: FieldPath,
    counts: HashMap<Key, u64>,
}

impl Counts {
    /// Counts the values of a point.
    fn take(&mut self, payload: &Payload) -> Result<(), QueryError> {
        let mut keys: Vec<Key> = elements_at(payload, &self.path).filter_map(Key::of).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().try_for_each(|key| self.add(key, 1))
    }

    fn add(&mut self, key: Key, points: u64) -> Result<(), QueryError> {
        *self.counts.entry(key).or_insert(0) += points;
        if self.counts.len() > FACET_VALUES_MAX {
            let found = format!("more than {FACET_VALUES_MAX} different ones");
            return Err(QueryError::bad(
                "values of a facet",
                found,
                "fewer: a filter that leaves fewer points",
            ));
        }
        Ok(())
    }
}

impl Collection {
    /// The most frequent values of a field, most frequent first; of equally frequent ones in the order of bools, integers and
    /// strings. Counts are exact. Where there is a field index of keywords, integers, floats, bools or UUIDs on the path, they come of
    /// its keys; without one the payload of every point that matches is read.
    ///
    /// # Errors
    /// When the path or the filter is wrong, there are more than [`FACET_VALUES_MAX`] different values, or a file cannot be
    /// read.
    pub fn facet(&self, facet: &Facet) -> Result<Vec<FacetHit>, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).facet(facet)
    }
}

impl Reader<'_> {
    pub(super) fn facet(&self, facet: &Facet) -> Result<Vec<FacetHit>, QueryError> {
        let expected = "a path such as city or tags";
        let path = facet
            .path
            .parse()
            .map_err(|error: crate::path::PathError| QueryError::bad("path of a facet", error, expected))?;
        if facet.limit == 0 {
            return Err(QueryError::bad("limit of a facet", 0, "1 or more"));
        }
        let filter = facet.filter.as_ref().map(|filter| self.check(filter)).transpose()?.unwrap_or_default();
        let (rows, _) = self.matching(&filter)?;
        let mut counts = Counts { path, counts: HashMap::new() };
        let left = self.count_by_index(&rows, &mut counts)?;
        self.each_flushed(&left, |_, _, _, payload| counts.take(payload))?;
        let mut in_memory = self.state.live_in_memory().filter(|point| rows.contains(point.row.0));
        in_memory.try_for_each(|point| counts.take(&point.payload))?;
        let mut all: Vec<(Reverse<u64>, Key)> =
            counts.counts.into_iter().map(|(key, count)| (Reverse(count), key)).collect();
        all.sort_unstable();
        all.truncate(facet.limit);
        let hit = |(Reverse(count), key): (Reverse<u64>, Key)| FacetHit { value: key.into_value(), count };
        Ok(all.into_iter().map(hit).collect())
    }

    /// Counts rows by the keys of a field index, segment by segment, where that reads less than their payloads. Gives the rows
    /// whose payloads are still to be asked.
    fn count_by_index(&self, rows: &RoaringBitmap, counts: &mut Counts) -> Result<RoaringBitmap, QueryError> {
        let index = self.state.fields.iter().find(|index| index.path == counts.path);
        let Some((index, kind)) = index.and_then(|index| Some((index, ValueKeys::of(index.field_type)?)))
        else {
            return Ok(rows.clone());
        };
        let mut left = rows.clone();
        for segment in &self.state.segments {
            let part = part_of(segment, rows);
            let Some(file) = segment.field(index.number).filter(|_| !part.is_empty()) else { continue };
            if file.value_pages()? > segment.payload_pages(part.len()) {
                continue;
            }
            // Values that keys do not tell.
            let untold = file.untold()? & &part;
            let told = &part - &untold;
            file.each_value(|key, of_key| {
                let points = of_key.intersection_len(&told);
                match kind.value(key).as_ref().and_then(Key::of).filter(|_| points > 0) {
                    Some(key) => counts.add(key, points),
                    None => Ok(()),
                }
            })?;
            left -= told;
        }
        Ok(left)
    }
}
