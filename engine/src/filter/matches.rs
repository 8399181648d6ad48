//! Whether a point is what a filter asks for: the exact answer, from the payload alone.

use std::collections::BTreeSet;

use crate::filter::checked::{Checked, Group, Node, Test, TextMode, TextQuery};
use crate::filter::datetime::parse_datetime;
use crate::filter::geo::GeoPoint;
use crate::filter::text::{each_token, words};
use crate::path::{FieldPath, elements};
use crate::point_id::PointId;
use crate::value::{Number, Object, Payload, Value};

impl Checked {
    /// Whether a point matches, of which `has_vector` tells the names of its vectors.
    pub fn matches(&self, id: PointId, payload: &Payload, has_vector: impl Fn(&str) -> bool) -> bool {
        let point = Point { id, has_vector: &has_vector };
        self.root.holds(&point, payload.as_object())
    }
}

/// What conditions ask of a point beside its payload.
struct Point<'a> {
    id: PointId,
    has_vector: &'a dyn Fn(&str) -> bool,
}

impl Group {
    fn holds(&self, point: &Point<'_>, object: &Object) -> bool {
        let holds = |node: &Node| node.holds(point, object);
        self.must.iter().all(holds)
            && !self.must_not.iter().any(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
            && self.min_should.as_ref().is_none_or(|(count, nodes)| {
                nodes.iter().filter(|node| holds(node)).take(*count).count() == *count
            })
    }
}

impl Node {
    fn holds(&self, point: &Point<'_>, object: &Object) -> bool {
        match self {
            Self::Field { path, test } => test.holds_at(path, object),
            Self::HasId(ids) => ids.contains(&point.id),
            Self::HasVector(name) => (point.has_vector)(name),
            Self::Slice { total, index } => slice_of(point.id, *total) == *index,
            Self::Nested { path, group } => {
                let objects = path.select(object).into_iter().filter_map(Value::as_object);
                objects.into_iter().any(|object| group.holds(point, object))
            }
            Self::Group(group) => group.holds(point, object),
        }
    }
}

impl Test {
    fn holds_at(&self, path: &FieldPath, object: &Object) -> bool {
        self.holds_for(&path.select(object))
    }

    /// Whether it holds for a field with these values, arrays whole.
    pub(crate) fn holds_for(&self, values: &[&Value]) -> bool {
        match self {
            Self::IsEmpty => values.iter().all(|value| count(value) == 0),
            Self::Count(interval) => {
                let within = |count: usize| interval.contains(|end| Number::from(count).compare(*end));
                if values.is_empty() { within(0) } else { values.iter().any(|value| within(count(value))) }
            }
            _ => values.iter().flat_map(|value| elements(value)).any(|element| self.holds(element)),
        }
    }

    /// Whether it holds for one element, for tests that look at elements.
    fn holds(&self, element: &Value) -> bool {
        match (self, element) {
            (Self::Match(scalars), _) => scalars.contains(element),
            (Self::Except(scalars), _) => !element.is_null() && !scalars.contains(element),
            (Self::Prefix(prefix), Value::String(text)) => text.starts_with(prefix),
            (Self::Text(query), Value::String(text)) => query.holds(text),
            (Self::Numbers(interval), Value::Number(number)) => interval.contains(|end| number.compare(*end)),
            (Self::Moments(interval), Value::String(text)) => {
                parse_datetime(text).is_some_and(|moment| interval.contains(|end| Some(moment.cmp(end))))
            }
            (Self::Geo(shape), _) => GeoPoint::of(element).is_some_and(|point| shape.contains(point)),
            (Self::IsNull, _) => element.is_null(),
            _ => false,
        }
    }
}

/// The part of all points that an id is in. What is asked today and tomorrow must be the same: this never changes.
fn slice_of(id: PointId, total: u32) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.key() {
        // FNV-1a.
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // Its high bits are no good by themselves: those of the finaliser of SplitMix64 are.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((u128::from(hash ^ (hash >> 31)) * u128::from(total)) >> 64) as u32
}

/// How many values a value counts as.
pub(crate) fn count(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Array(values) => values.len(),
        _ => 1,
    }
}

impl TextQuery {
    fn holds(&self, text: &str) -> bool {
        match self.mode {
            TextMode::All => {
                let mut missing = self.tokens.iter().map(String::as_str).collect::<BTreeSet<&str>>();
                let looked_for = !missing.is_empty();
                each_token(&self.options, text, |token| {
                    missing.remove(token);
                });
                looked_for && missing.is_empty()
            }
            TextMode::Any => {
                let mut found = false;
                each_token(&self.options, text, |token| found = found || self.tokens.contains(token));
                found
            }
            TextMode::Phrase => {
                let len = self.words.len();
                len > 0 && words(&self.options, text).windows(len).any(|window| *window == self.words)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_about_as_large_and_stay_what_they_are() {
        for total in [1, 2, 7] {
            let mut counts = vec![0; total as usize];
            (0..7_000_u64).for_each(|id| counts[slice_of(id.into(), total) as usize] += 1);
            let even = 7_000 / total as i32;
            assert!(counts.iter().all(|count: &i32| (count - even).abs() < even / 8), "{counts:?}");
        }
        let uuid = "f47ac10b-58cc-4372-a567-0e02b2c3d479".parse().unwrap();
        let some = [0_u64.into(), 1_u64.into(), u64::MAX.into(), uuid].map(|id| slice_of(id, 1000));
        assert_eq!(some, FROZEN);
    }

    const FROZEN: [u32; 4] = [746, 185, 873, 792];
}
