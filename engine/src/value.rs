//! Values as JSON knows them, and payloads: what a point carries beside its vectors.

use std::collections::BTreeMap;

pub use number::Number;

mod codec;
mod number;
mod ram;
#[cfg(feature = "serde")]
mod serde;
#[cfg(test)]
pub(crate) mod tests;

/// How deep arrays and objects of a payload may be nested, the payload itself included.
pub const PAYLOAD_DEPTH_MAX: usize = 64;

/// Bytes of a payload at most, encoded.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The members of an object, sorted by key. An object has no order of its own, so the same members always compare,
/// print and encode alike.
pub type Object = BTreeMap<String, Value>;

/// A value as JSON knows it.
///
/// ```
/// use nearline::Value;
///
/// let tags = Value::from(vec!["new", "sale"]);
/// assert_eq!(tags, Value::Array(vec!["new".into(), "sale".into()]));
/// assert_eq!(Value::from(3), Value::Number(3.into()));
/// assert_eq!(Value::from(None::<bool>), Value::Null);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// An integer or a float.
    Number(Number),
    /// Text.
    String(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Values by key.
    Object(Object),
}

/// What a point carries beside its vectors: values by key.
///
/// ```
/// use nearline::{Payload, Value};
///
/// let mut payload = Payload::new().with("city", "Berlin").with("rooms", 3).with("tags", vec!["quiet"]);
/// payload.insert("price", 870.5);
/// assert_eq!(payload.get("city"), Some(&Value::from("Berlin")));
/// payload.check()?;
/// # Ok::<(), nearline::ValueError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload(Object);

/// Why a value cannot be kept.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// A payload is an object.
    #[error("a payload is {found}; expected an object, such as {{\"city\": \"Berlin\"}}")]
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
    /// Arrays and objects are nested too deeply.
    #[error("a payload is nested deeper than {limit} levels; flatten it, or keep the inner part as a string")]
    TooDeep {
        /// Levels that are allowed, the payload itself included.
        limit: usize,
    },
    /// A payload is too large.
    #[error(
        "a payload takes {found} bytes; expected {limit} at most: keep large content elsewhere and refer to it"
    )]
    TooLarge {
        /// Its length in bytes, encoded.
        found: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A float is NaN or infinite, which no JSON can say.
    #[error("{key}: {found}; expected a finite number, or null for one that is missing")]
    NotFinite {
        /// The member of the payload that holds it.
        key: String,
        /// The float.
        found: f64,
    },
}

impl Value {
    /// The number, if it is one.
    pub fn as_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What it is, in words: `a string`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl Payload {
    /// A payload without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// The payload with one more member.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Sets a member and hands back what it was.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(key.into(), value.into())
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    /// The member with this key. Keys are taken as they are; [`FieldPath`](crate::FieldPath) looks deeper.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The members, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All members.
    pub fn as_object(&self) -> &Object {
        &self.0
    }

    /// All members, to be changed.
    pub fn as_object_mut(&mut self) -> &mut Object {
        &mut self.0
    }

    /// All members.
    pub fn into_object(self) -> Object {
        self.0
    }

    /// Checks what cannot be kept: nesting beyond [`PAYLOAD_DEPTH_MAX`], more than [`PAYLOAD_BYTES_MAX`] bytes,
    /// floats that are not finite.
    ///
    /// # Errors
    /// As [`ValueError`] says; of several mistakes the first.
    pub fn check(&self) -> Result<(), ValueError> {
        self.encoded_bytes().map(|_| ())
    }
}

impl From<Object> for Payload {
    fn from(members: Object) -> Self {
        Self(members)
    }
}

impl TryFrom<Value> for Payload {
    type Error = ValueError;

    fn try_from(value: Value) -> Result<Self, ValueError> {
        match value {
            Value::Object(members) => Ok(Self(members)),
            other => Err(ValueError::NotAnObject { found: other.kind() }),
        }
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Payload {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        Self(members.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Payload {
    fn from(members: [(K, V); N]) -> Self {
        members.into_iter().collect()
    }
}

impl From<Payload> for Value {
    fn from(payload: Payload) -> Self {
        Self::Object(payload.0)
    }
}

impl From<Object> for Value {
    fn from(members: Object) -> Self {
        Self::Object(members)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

macro_rules! from_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Number(number.into())
            }
        }
    )*};
}

from_numbers!(Number, i8, i16, i32, i64, u8, u16, u32, u64, usize, f32, f64);

impl<V: Into<Value>> From<Vec<V>> for Value {
    fn from(values: Vec<V>) -> Self {
        values.into_iter().collect()
    }
}

impl<V: Into<Value>, const N: usize> From<[V; N]> for Value {
    fn from(values: [V; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<V: Into<Value>> From<Option<V>> for Value {
    fn from(value: Option<V>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<V: Into<Value>> FromIterator<V> for Value {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}
