//! The best points of each value of a field.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use nearline_index::RowId;

use super::query::{K_MAX, Query, QueryReport, Ranked, ScoredPoint, Spent};
use super::{Collection, Reader};
use crate::error::QueryError;
use crate::filter::{Condition, Filter, MatchValue};
use crate::path::{FieldPath, elements_at};
use crate::value::{Number, Value};

/// Groups, and points of a group, unless told otherwise.
const LIMIT: usize = 10;
const SIZE: usize = 3;

/// A question whose points are put into groups by the values of a field.
///
/// Values are strings and integers; a point of several is in several groups, one of none in none. Groups come in the order of
/// their best points.
///
/// ```
/// use nearline::{Groups, Query};
///
/// let two_of_each = Groups::by("author", Query::nearest([0.1, 0.2])).limit(5).size(2);
/// # let _ = two_of_each;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Groups {
    path: String,
    query: Query,
    limit: usize,
    size: usize,
}

impl Groups {
    /// Ten groups of three points. How many points the question wants, and which it leaves out at first, is not looked at. Its
    /// prefetches get as many times more points as a group has.
    pub fn by(path: impl Into<String>, query: Query) -> Self {
        Self { path: path.into(), query, limit: LIMIT, size: SIZE }
    }

    /// So many groups.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// So many points of each.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }
}

/// The points of one value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PointGroup {
    /// The value: a string or an integer.
    pub value: Value,
    /// Its best points.
    pub hits: Vec<ScoredPoint>,
}

/// Groups, the one with the best point first, and what they cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupsAnswer {
    /// The groups: as many as were asked for, if so many values are found.
    pub groups: Vec<PointGroup>,
    /// The cost of all questions that were asked for them.
    pub report: QueryReport,
}

/// A value that points are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Text(String),
    Integer(i128),
}

impl Key {
    fn of(value: &Value) -> Option<(Self, &Value)> {
        match value {
            Value::String(text) => Some((Self::Text(text.clone()), value)),
            Value::Number(number) => number.as_i128().map(|integer| (Self::Integer(integer), value)),
            _ => None,
        }
    }
}

/// Groups that are being filled.
struct Filling<'a> {
    path: FieldPath,
    wanted: &'a Groups,
    places: HashMap<Key, usize>,
    groups: Vec<(Value, Vec<Ranked>)>,
}

impl Filling<'_> {
    fn is_full(&self, group: &[Ranked]) -> bool {
        group.len() >= self.wanted.size
    }

    fn has_all_groups(&self) -> bool {
        self.groups.len() >= self.wanted.limit
    }

    fn is_done(&self) -> bool {
        self.has_all_groups() && self.groups.iter().all(|(_, group)| self.is_full(group))
    }

    /// Values of groups that are not full.
    fn open(&self) -> Vec<MatchValue> {
        let value = |value: &Value| match value {
            Value::String(text) => MatchValue::Keyword(text.clone()),
            other => MatchValue::Integer(other.as_number().unwrap_or(Number::from(0))),
        };
        self.groups.iter().filter(|(_, group)| !self.is_full(group)).map(|(of, _)| value(of)).collect()
    }

    /// Takes points in, best first. A point that is in a group is not taken again.
    fn take(&mut self, reader: &Reader<'_>, ranked: Vec<Ranked>) -> Result<(), QueryError> {
        let rows: Vec<RowId> = ranked.iter().map(|point| point.row).collect();
        for (point, (_, payload)) in ranked.into_iter().zip(reader.documents(&rows)?) {
            let mut seen = HashSet::new();
            for (key, value) in elements_at(&payload, &self.path).filter_map(Key::of) {
                if !seen.insert(key.clone()) {
                    continue;
                }
                let has_room = !self.has_all_groups();
                let place = match self.places.get(&key) {
                    Some(place) => *place,
                    None if has_room => {
                        self.groups.push((value.clone(), Vec::new()));
                        self.places.insert(key, self.groups.len() - 1);
                        self.groups.len() - 1
                    }
                    None => continue,
                };
                let group = &mut self.groups[place].1;
                if group.len() < self.wanted.size && group.iter().all(|other| other.row != point.row) {
                    group.push(point.clone());
                }
            }
        }
        Ok(())
    }
}

impl Collection {
    /// The best points of each value of a field.
    ///
    /// # Errors
    /// [`QueryError`], saying what of the question is wrong or which file cannot be read.
    pub fn query_groups(&self, groups: &Groups) -> Result<GroupsAnswer, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).groups(groups)
    }
}

impl Reader<'_> {
    pub(super) fn groups(&self, wanted: &Groups) -> Result<GroupsAnswer, QueryError> {
        let started = Instant::now();
        let path = wanted.check()?;
        let mut spent = Spent::default();
        let query = wanted.query.clone().offset(0).with_prefetches_times(wanted.size);
        let mut filling = Filling { path, wanted, places: HashMap::new(), groups: Vec::new() };
        if query.has_prefetches() {
            // What prefetches find is all there is: it is asked once.
            filling.take(self, self.ranked(&query.k(K_MAX), &mut spent)?)?;
        } else {
            self.fill(&query, &mut filling, &mut spent)?;
        }
        let report = spent.report(self.state.lsn, started);
        let hits = |(value, ranked)| Ok(PointGroup { value, hits: self.hits(ranked, &wanted.query)? });
        let groups = filling.groups.into_iter().map(hits).collect::<Result<_, QueryError>>()?;
        Ok(GroupsAnswer { groups, report })
    }

    /// Asks for more and more points, until there are enough groups; then for more of those that are not full.
    fn fill(&self, query: &Query, filling: &mut Filling<'_>, spent: &mut Spent) -> Result<(), QueryError> {
        let wanted = filling.wanted;
        let has_value = Filter::must_not([Condition::is_empty(wanted.path.clone())]);
        let query = query.clone().and_filter(has_value);
        let mut k = wanted.limit.saturating_mul(wanted.size).clamp(1, K_MAX);
        loop {
            let ranked = self.ranked(&query.clone().k(k), spent)?;
            let is_all = ranked.len() < k || k == K_MAX;
            // From the start again: better points of a group may have been out of reach of the index before.
            (filling.groups, filling.places) = (Vec::new(), HashMap::new());
            filling.take(self, ranked)?;
            if is_all || filling.is_done() {
                return Ok(());
            }
            if filling.has_all_groups() {
                break;
            }
            k = k.saturating_mul(4).min(K_MAX);
        }
        let mut k = wanted.limit.saturating_mul(wanted.size).clamp(1, K_MAX);
        loop {
            let of_open = Filter::must([Condition::matches_any(wanted.path.clone(), filling.open())]);
            let ranked = self.ranked(&query.clone().and_filter(of_open).k(k), spent)?;
            let is_all = ranked.len() < k || k == K_MAX;
            filling.take(self, ranked)?;
            if is_all || filling.is_done() {
                return Ok(());
            }
            k = k.saturating_mul(4).min(K_MAX);
        }
    }
}

impl Groups {
    fn check(&self) -> Result<FieldPath, QueryError> {
        for (what, found) in [("number of groups", self.limit), ("size of groups", self.size)] {
            if found == 0 || self.limit.saturating_mul(self.size) > K_MAX {
                return Err(QueryError::bad(what, found, format!("1 to {K_MAX}, and so their product")));
            }
        }
        let expected = "a path such as author or address.city";
        self.path
            .parse()
            .map_err(|error: crate::path::PathError| QueryError::bad("path to group by", error, expected))
    }
}
