//! The keys of a field index: bytes that sort like the values they stand for.

use std::collections::BTreeSet;

use crate::field::FieldType;
use crate::field::tiles::tile_of;
use crate::filter::geo::GeoPoint;
use crate::filter::parse_datetime;
use crate::filter::text::each_token;
use crate::path::elements;
use crate::point_id::Uuid;
use crate::value::{Number, Value};

/// Bytes of a keyword or token that go into its key; of longer ones the first.
pub const KEYWORD_KEY_BYTES_MAX: usize = 256;

/// A key.
pub(crate) type Key = Vec<u8>;

/// What a key tells of a row, as its first byte.
pub(crate) mod tag {
    /// A mark follows.
    pub(crate) const MARK: u8 = 0;
    /// The number of values follows, as four bytes.
    pub(crate) const COUNT: u8 = 1;
    /// A value of the index's type follows.
    pub(crate) const VALUE: u8 = 2;
    /// The beginning of a keyword or token that is too long follows.
    pub(crate) const CUT: u8 = 3;
}

/// What is true of a row, whatever its values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It has an element that is not null and not of the index's type.
    Other = 0,
    /// It has more than one string; only in text indexes.
    Several = 1,
    /// It has a value that is neither null nor an empty array.
    Filled = 2,
    /// It has a null.
    Null = 3,
}

/// All keys under which a row with these values at the field's path is found, sorted. The values are those of
/// [`values_at`](crate::values_at); without any there are no keys.
pub fn keys_of<'a>(field_type: FieldType, values: impl IntoIterator<Item = &'a Value>) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    let mut strings = 0;
    for value in values {
        let count = crate::filter::count(value);
        keys.insert(count_key(u32::try_from(count).unwrap_or(u32::MAX)));
        if count > 0 {
            keys.insert(mark_key(Mark::Filled));
        }
        for element in elements(value) {
            strings += usize::from(matches!(element, Value::String(_)));
            put_element(field_type, element, &mut keys);
        }
    }
    if strings > 1 && matches!(field_type, FieldType::Text(_)) {
        keys.insert(mark_key(Mark::Several));
    }
    keys
}

fn put_element(field_type: FieldType, element: &Value, keys: &mut BTreeSet<Key>) {
    let key = match (field_type, element) {
        (_, Value::Null) => mark_key(Mark::Null),
        (FieldType::Text(options), Value::String(text)) => {
            each_token(&options, text, |token| {
                keys.insert(keyword_key(token).0);
            });
            return;
        }
        _ => element_key(field_type, element).unwrap_or_else(|| mark_key(Mark::Other)),
    };
    keys.insert(key);
}

/// The key of an element of the index's type, text aside.
fn element_key(field_type: FieldType, element: &Value) -> Option<Key> {
    match (field_type, element) {
        (FieldType::Keyword, Value::String(text)) => Some(keyword_key(text).0),
        (FieldType::Integer | FieldType::Float, Value::Number(number)) => Some(number_key(*number)),
        (FieldType::Bool, Value::Bool(value)) => Some(bool_key(*value)),
        (FieldType::Datetime, Value::String(text)) => parse_datetime(text).map(moment_key),
        (FieldType::Uuid, Value::String(text)) => uuid_key(text),
        (FieldType::Geo, _) => GeoPoint::of(element).map(|point| tile_key(tile_of(point))),
        _ => None,
    }
}

pub(crate) fn mark_key(mark: Mark) -> Key {
    vec![tag::MARK, mark as u8]
}

pub(crate) fn count_key(count: u32) -> Key {
    [&[tag::COUNT][..], &count.to_be_bytes()].concat()
}

/// The key of a keyword or token, and whether it stands for others too because it was cut.
pub(crate) fn keyword_key(text: &str) -> (Key, bool) {
    let bytes = text.as_bytes();
    match bytes.get(..KEYWORD_KEY_BYTES_MAX) {
        Some(cut) if cut.len() < bytes.len() => ([&[tag::CUT], cut].concat(), true),
        _ => (value_key(bytes), false),
    }
}

pub(crate) fn bool_key(value: bool) -> Key {
    value_key(&[u8::from(value)])
}

/// The nearest float, what it lacks, and whether the number is one itself: ten bytes that sort by worth, an integer
/// just before the float that is worth the same.
pub(crate) fn number_key(number: Number) -> Key {
    let nearest = number.as_f64() + 0.0; // no negative zero
    let bits = nearest.to_bits();
    let sortable = if nearest.is_sign_negative() { !bits } else { bits | 1 << 63 };
    let rest = match number.as_i128() {
        // No more than 1024: the steps of floats below 2^64 are at most 2048.
        Some(integer) => (integer - nearest as i128 + LACK_ZERO) as u16 * 2,
        None => LACK_ZERO as u16 * 2 + 1,
    };
    [&[tag::VALUE][..], &sortable.to_be_bytes(), &rest.to_be_bytes()].concat()
}

/// What stands for a float that lacks nothing.
const LACK_ZERO: i128 = 0x2000;

/// The integer of a key without its tag; none if the key is that of a float.
fn integer_of(key: &[u8]) -> Option<Number> {
    let (sortable, rest) = key.split_first_chunk::<8>()?;
    let (sortable, rest) = (u64::from_be_bytes(*sortable), u16::from_be_bytes(rest.try_into().ok()?));
    if rest % 2 == 1 {
        return None;
    }
    let bits = if sortable >> 63 == 1 { sortable & !(1 << 63) } else { !sortable };
    let integer = f64::from_bits(bits) as i128 + i128::from(rest / 2) - LACK_ZERO;
    let small = i64::try_from(integer).map(Number::from);
    small.ok().or_else(|| u64::try_from(integer).ok().map(Number::from))
}

/// Of which values the keys of an index are, where they tell all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueKeys {
    Strings,
    Integers,
    Bools,
    Uuids,
}

impl ValueKeys {
    pub(crate) fn of(field_type: FieldType) -> Option<Self> {
        match field_type {
            FieldType::Keyword => Some(Self::Strings),
            FieldType::Integer | FieldType::Float => Some(Self::Integers),
            FieldType::Bool => Some(Self::Bools),
            FieldType::Uuid => Some(Self::Uuids),
            _ => None,
        }
    }

    /// The value of a key without its tag; none if it is that of a float.
    pub(crate) fn value(self, key: &[u8]) -> Option<Value> {
        match self {
            Self::Strings => std::str::from_utf8(key).ok().map(Value::from),
            Self::Integers => integer_of(key).map(Value::from),
            Self::Bools => key.first().map(|&byte| Value::from(byte == 1)),
            Self::Uuids => key.try_into().ok().map(|bytes| Value::from(Uuid(bytes).to_string())),
        }
    }
}

pub(crate) fn moment_key(micros: i64) -> Key {
    value_key(&(micros as u64 ^ 1 << 63).to_be_bytes())
}

/// Only of the form in which UUIDs are printed, since equality is that of strings.
pub(crate) fn uuid_key(text: &str) -> Option<Key> {
    let uuid = Uuid::parse(text).filter(|uuid| uuid.is_printed_form(text))?;
    Some(value_key(&uuid.0))
}

pub(crate) fn tile_key(tile: u64) -> Key {
    value_key(&tile.to_be_bytes())
}

pub(crate) fn value_key(bytes: &[u8]) -> Key {
    [&[tag::VALUE], bytes].concat()
}
