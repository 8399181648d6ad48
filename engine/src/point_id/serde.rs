//! Point ids as numbers and strings.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::PointId;

impl Serialize for PointId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Uuid(uuid) => serializer.collect_str(uuid),
        }
    }
}

impl<'de> Deserialize<'de> for PointId {
    /// A number, or a string that holds a UUID or a number.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdVisitor)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = PointId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a point id: an unsigned number or a UUID")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<PointId, E> {
        Ok(PointId::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<PointId, E> {
        u64::try_from(number).map(PointId::Number).map_err(|_| E::custom(format!("{number} is no point id")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PointId, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_through_json() {
        for text in ["0", "18446744073709551615", "\"f47ac10b-58cc-4372-a567-0e02b2c3d479\""] {
            let id: PointId = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&id).unwrap(), text);
        }
        for text in ["-1", "1.5", "null", "\"x\"", "[]"] {
            assert!(serde_json::from_str::<PointId>(text).is_err(), "{text}");
        }
    }
}
