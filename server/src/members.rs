//! The members of an object that a type is read from, asked of the type itself: a document made so cannot drift.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The names of members that a type is read from; none if it does not say.
pub(crate) fn members<T: DeserializeOwned>() -> &'static [&'static str] {
    match T::deserialize(Asking) {
        Err(Told(members)) => members,
        Ok(_) => &[],
    }
}

/// Answers every question with what was asked for.
struct Asking;

/// The names that were asked for.
#[derive(Debug)]
struct Told(&'static [&'static str]);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Told {}

impl Error for Told {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }
}

impl<'de> Deserializer<'de> for Asking {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Told> {
        Err(Told(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Told> {
        Err(Told(fields))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn a_struct_says_its_members_and_others_nothing() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its names are asked for")]
        struct Point {
            x: f32,
            #[serde(rename = "why")]
            y: f32,
        }
        assert_eq!(members::<Point>(), ["x", "why"]);
        assert!(members::<Vec<u8>>().is_empty());
    }
}
