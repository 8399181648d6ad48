//! Which keys of a field index answer a condition.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::field::FieldType;
use crate::field::key::{
    Key, Mark, bool_key, count_key, keyword_key, mark_key, moment_key, number_key, tag, tile_key, uuid_key,
};
use crate::field::tiles;
use crate::filter::{Interval, Scalars, Shape, Test, TextMode, TextQuery};
use crate::value::Number;

/// A set of rows, by their keys in one field index.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySet {
    /// All rows there are, with the field or without.
    All,
    /// Rows with this key.
    Key(Vec<u8>),
    /// Rows with a key in a range. A range whose ends have passed each other has no keys.
    Keys {
        /// The lower end.
        from: Bound<Vec<u8>>,
        /// The upper end.
        to: Bound<Vec<u8>>,
    },
    /// Rows in any of the sets; of no sets, no rows.
    Union(Vec<KeySet>),
    /// Rows in all of the sets, of which there is one at least.
    Intersection(Vec<KeySet>),
    /// Rows in the first set that are not in the second.
    Difference(Box<KeySet>, Box<KeySet>),
}

/// How a field index answers a condition: the rows in `rows` but not in `recheck` match, the rows in both may, and no
/// others do.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyQuery {
    /// All rows that match, and perhaps more.
    pub rows: KeySet,
    /// The rows of which it is uncertain; of rows outside of `rows` it says nothing.
    pub recheck: KeySet,
}

impl KeyQuery {
    /// Whether all of `rows` match, so that no payload has to be asked.
    pub fn is_exact(&self) -> bool {
        self.recheck.is_none()
    }

    fn exact(rows: KeySet) -> Self {
        Self { rows, recheck: KeySet::none() }
    }
}

impl KeySet {
    /// No rows.
    pub fn none() -> Self {
        Self::Union(Vec::new())
    }

    /// Whether there are certainly no rows in it.
    pub fn is_none(&self) -> bool {
        match self {
            Self::Union(sets) => sets.iter().all(Self::is_none),
            Self::Intersection(sets) => sets.iter().any(Self::is_none),
            Self::Difference(rows, _) => rows.is_none(),
            Self::All | Self::Key(_) | Self::Keys { .. } => false,
        }
    }

    /// Appends bytes that no other set has.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let sets = |out: &mut Vec<u8>, tag: u8, sets: &[Self]| {
            out.push(tag);
            out.extend_from_slice(&(sets.len() as u64).to_le_bytes());
            sets.iter().for_each(|set| set.encode(out));
        };
        match self {
            Self::All => out.push(0),
            Self::Key(key) => encode_key(1, key, out),
            Self::Keys { from, to } => {
                out.push(2);
                encode_bound(from, out);
                encode_bound(to, out);
            }
            Self::Union(of) => sets(out, 3, of),
            Self::Intersection(of) => sets(out, 4, of),
            Self::Difference(rows, other) => {
                out.push(5);
                rows.encode(out);
                other.encode(out);
            }
        }
    }

    fn mark(mark: Mark) -> Self {
        Self::Key(mark_key(mark))
    }

    /// All keys with a tag.
    fn tagged(tag: u8) -> Self {
        Self::begins(vec![tag])
    }

    /// All keys that begin so. The first byte is a tag, so not the largest.
    fn begins(prefix: Key) -> Self {
        let mut end = prefix.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        Self::Keys { from: Bound::Included(prefix), to: Bound::Excluded(end) }
    }

    fn without(self, other: Self) -> Self {
        Self::Difference(Box::new(self), Box::new(other))
    }
}

fn encode_key(tag: u8, key: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&(key.len() as u64).to_le_bytes());
    out.extend_from_slice(key);
}

fn encode_bound(bound: &Bound<Vec<u8>>, out: &mut Vec<u8>) {
    match bound {
        Bound::Included(key) => encode_key(0, key, out),
        Bound::Excluded(key) => encode_key(1, key, out),
        Bound::Unbounded => out.push(2),
    }
}

/// The keys that answer a condition, or `None` if an index of this type cannot.
pub fn plan(test: &Test, field_type: FieldType) -> Option<KeyQuery> {
    use FieldType::{Datetime, Float, Geo, Integer, Keyword, Text};
    match (test, field_type) {
        (Test::IsEmpty, _) => Some(KeyQuery::exact(KeySet::All.without(KeySet::mark(Mark::Filled)))),
        (Test::IsNull, _) => Some(KeyQuery::exact(KeySet::mark(Mark::Null))),
        (Test::Count(interval), _) => Some(KeyQuery::exact(counts(interval))),
        (Test::Match(scalars), _) => plan_match(scalars, field_type),
        (Test::Except(scalars), _) => plan_except(scalars, field_type),
        (Test::Prefix(prefix), Keyword) => Some(plan_prefix(prefix)),
        (Test::Numbers(interval), Integer | Float) => Some(KeyQuery::exact(numbers(interval))),
        (Test::Moments(interval), Datetime) => Some(KeyQuery::exact(moments(interval))),
        (Test::Geo(shape), Geo) => Some(plan_geo(shape)),
        (Test::Text(query), Text(options)) if query.options == options => Some(plan_text(query)),
        _ => None,
    }
}

/// Rows without values have no key of a count; they count as 0.
fn counts(interval: &Interval<Number>) -> KeySet {
    let key =
        |number: &Number| count_key(number.as_u64().and_then(|n| n.try_into().ok()).unwrap_or(u32::MAX));
    let (from, to) = ends(interval, tag::COUNT, key);
    let counted = KeySet::Keys { from, to };
    if interval.contains(|end| Number::from(0).compare(*end)) {
        return KeySet::Union(vec![counted, KeySet::All.without(KeySet::tagged(tag::COUNT))]);
    }
    counted
}

fn numbers(interval: &Interval<Number>) -> KeySet {
    // Of what is worth the same, integers come just before floats.
    let integer = |number: &Number| worth(*number, false);
    let float = |number: &Number| worth(*number, true);
    let from = match &interval.from {
        Bound::Excluded(end) => Bound::Excluded(float(end)),
        Bound::Included(end) => Bound::Included(integer(end)),
        Bound::Unbounded => Bound::Included(vec![tag::VALUE]),
    };
    let to = match &interval.to {
        Bound::Excluded(end) => Bound::Excluded(integer(end)),
        Bound::Included(end) => Bound::Included(float(end)),
        Bound::Unbounded => Bound::Excluded(vec![tag::VALUE + 1]),
    };
    KeySet::Keys { from, to }
}

/// The key of an integer or a float that is worth as much as a number, whether or not there is one.
fn worth(number: Number, float: bool) -> Key {
    let mut key = number_key(number);
    if let Some(last) = key.last_mut() {
        *last = *last & !1 | u8::from(float);
    }
    key
}

fn moments(interval: &Interval<i64>) -> KeySet {
    let key = |micros: &i64| moment_key(*micros);
    let (from, to) = ends(interval, tag::VALUE, key);
    KeySet::Keys { from, to }
}

/// The ends of an interval as ends of a range of keys with a tag.
fn ends<T>(interval: &Interval<T>, tag: u8, key: impl Fn(&T) -> Key) -> (Bound<Key>, Bound<Key>) {
    let low = match interval.from.as_ref().map(&key) {
        Bound::Unbounded => Bound::Included(vec![tag]),
        end => end,
    };
    let high = match interval.to.as_ref().map(&key) {
        Bound::Unbounded => Bound::Excluded(vec![tag + 1]),
        end => end,
    };
    (low, high)
}

/// What an index knows of values to compare with.
struct Known {
    /// The keys of those it has keys of their own for.
    keys: BTreeSet<Key>,
    /// The keys that others share.
    cut: BTreeSet<Key>,
    /// Whether there are others: they are elements of another type.
    rest: bool,
}

/// `None` if elements that equal the values may be found under keys of something else: tokens, moments.
fn known(scalars: &Scalars, field_type: FieldType) -> Option<Known> {
    let mut known = Known { keys: BTreeSet::new(), cut: BTreeSet::new(), rest: false };
    let Scalars { keywords, integers, bools } = scalars;
    let mut of_type = 0;
    match field_type {
        FieldType::Keyword => {
            of_type = keywords.len();
            for (key, cut) in keywords.iter().map(|keyword| keyword_key(keyword)) {
                if cut {
                    known.cut.insert(key)
                } else {
                    known.keys.insert(key)
                };
            }
        }
        FieldType::Uuid => {
            known.keys = keywords.iter().filter_map(|keyword| uuid_key(keyword)).collect();
            of_type = known.keys.len();
        }
        FieldType::Integer | FieldType::Float => {
            known.keys = integers.iter().map(|&integer| integer_key(integer)).collect();
            of_type = integers.len();
        }
        FieldType::Bool => {
            known.keys = bools.iter().map(|&value| bool_key(value)).collect();
            of_type = bools.len();
        }
        FieldType::Datetime | FieldType::Text(_) if !keywords.is_empty() => return None,
        FieldType::Datetime | FieldType::Text(_) | FieldType::Geo => {}
    }
    known.rest = of_type < scalars.len();
    Some(known)
}

fn integer_key(integer: i128) -> Key {
    let number = i64::try_from(integer).map(Number::from);
    number_key(number.unwrap_or_else(|_| Number::from(integer as u64)))
}

fn plan_match(scalars: &Scalars, field_type: FieldType) -> Option<KeyQuery> {
    let known = known(scalars, field_type)?;
    let mut recheck: Vec<KeySet> = known.cut.into_iter().map(KeySet::Key).collect();
    if known.rest {
        recheck.push(KeySet::mark(Mark::Other));
    }
    let certain = KeySet::Union(known.keys.into_iter().map(KeySet::Key).collect());
    Some(uncertain(certain, recheck))
}

/// Everything of the type but the values listed, and everything of other types.
fn plan_except(scalars: &Scalars, field_type: FieldType) -> Option<KeyQuery> {
    if matches!(field_type, FieldType::Text(_)) {
        return None; // a string without tokens has no key
    }
    let known = known(scalars, field_type)?;
    let mut certain = Vec::new();
    let mut from = Bound::Included(vec![tag::VALUE]);
    for key in known.keys {
        certain.push(KeySet::Keys { from, to: Bound::Excluded(key.clone()) });
        from = Bound::Excluded(key);
    }
    certain.push(KeySet::Keys { from, to: Bound::Excluded(vec![tag::VALUE + 1]) });
    let mut recheck = Vec::new();
    for (set, doubtful) in
        [(KeySet::tagged(tag::CUT), !known.cut.is_empty()), (KeySet::mark(Mark::Other), known.rest)]
    {
        if doubtful { recheck.push(set) } else { certain.push(set) }
    }
    Some(uncertain(KeySet::Union(certain), recheck))
}

/// Rows that certainly match, and others that may.
fn uncertain(certain: KeySet, recheck: Vec<KeySet>) -> KeyQuery {
    if recheck.is_empty() {
        return KeyQuery::exact(certain);
    }
    let recheck = KeySet::Union(recheck);
    if certain.is_none() {
        return KeyQuery { rows: recheck.clone(), recheck };
    }
    KeyQuery {
        rows: KeySet::Union(vec![certain.clone(), recheck.clone()]),
        recheck: recheck.without(certain),
    }
}

fn plan_prefix(prefix: &str) -> KeyQuery {
    let (key, cut) = keyword_key(prefix);
    if cut {
        return uncertain(KeySet::none(), vec![KeySet::Key(key)]);
    }
    let of_long = [&[tag::CUT], &key[1..]].concat();
    KeyQuery::exact(KeySet::Union(vec![KeySet::begins(key), KeySet::begins(of_long)]))
}

fn plan_geo(shape: &Shape) -> KeyQuery {
    let cover = tiles::cover(shape);
    let set = |(first, last): (u64, u64)| KeySet::Keys {
        from: Bound::Included(tile_key(first)),
        to: Bound::Included(tile_key(last)),
    };
    let inside = KeySet::Union(cover.inside.into_iter().map(set).collect());
    uncertain(inside, cover.border.into_iter().map(set).collect())
}

/// Tokens that are in one string for certain if a row has only one.
fn plan_text(query: &TextQuery) -> KeyQuery {
    let keys: Vec<(Key, bool)> = query.tokens.iter().map(|token| keyword_key(token)).collect();
    if keys.is_empty() {
        return KeyQuery::exact(KeySet::none());
    }
    let (several, cut) = (keys.len() > 1, keys.iter().any(|(_, cut)| *cut));
    let keys = keys.into_iter().map(|(key, _)| KeySet::Key(key)).collect();
    let rows = if query.mode == TextMode::Any { KeySet::Union(keys) } else { KeySet::Intersection(keys) };
    let recheck = match query.mode {
        _ if cut => KeySet::All,
        TextMode::Phrase => KeySet::All,
        TextMode::All if several => KeySet::mark(Mark::Several),
        TextMode::All | TextMode::Any => KeySet::none(),
    };
    KeyQuery { rows, recheck }
}
