//! Vectors: a list of numbers, or lists by name.

use std::collections::BTreeMap;
use std::fmt;

use nearline::{ElementType, Metric, PointId, Schema, Vector, VectorConfig};
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::shape::{Id, shaped};

const MULTI: &str = "lists of vectors (multi-vectors) are not supported yet";
const SPARSE: &str = "sparse vectors are not supported yet";
const INFERENCE: &str = "texts and images are not turned into vectors here: send vectors";

/// A list of numbers. Whether they are finite is checked with the collection's schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense(pub(crate) Vec<f32>);

impl<'de> Deserialize<'de> for Dense {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Reader { ids: false })? {
            Input::Vector(vector) => Ok(vector),
            Input::Id(_) => Err(D::Error::custom("expected a list of numbers")),
        }
    }
}

/// A vector, or the id of a point that has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Vector(Dense),
    Id(PointId),
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader { ids: true })
    }
}

struct Reader {
    ids: bool,
}

impl<'de> Visitor<'de> for Reader {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ids { "a list of numbers, or the id of a point" } else { "a list of numbers" })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Input, E> {
        match self.ids {
            true => Ok(Input::Id(number.into())),
            false => Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Input, E> {
        match self.ids {
            true => text.parse().map(Input::Id).map_err(E::custom),
            false => Err(E::invalid_type(serde::de::Unexpected::Str(text), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Input, A::Error> {
        let mut values = Vec::new();
        while let Some(Element(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Input::Vector(Dense(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input, A::Error> {
        let key: Option<String> = map.next_key()?;
        Err(A::Error::custom(no_vector(key.as_deref().unwrap_or_default())))
    }
}

/// What an object is that has such a key, where a list of numbers should be.
fn no_vector(key: &str) -> &'static str {
    match key {
        "indices" | "values" => SPARSE,
        "text" | "image" | "object" | "model" | "options" => INFERENCE,
        _ => "expected a list of numbers",
    }
}

/// One number.
struct Element(f32);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementReader)
    }
}

struct ElementReader;

impl<'de> Visitor<'de> for ElementReader {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Element, E> {
        Ok(Element(number as f32))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Element, E> {
        Ok(Element(number as f32))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Element, E> {
        Ok(Element(number as f32))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Element, A::Error> {
        Err(A::Error::custom(MULTI))
    }
}

/// The vectors of a point.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Vectors {
    /// The one without a name.
    One(Dense),
    /// Some by name.
    Named(BTreeMap<String, Dense>),
}

impl<'de> Deserialize<'de> for Vectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VectorsReader)
    }
}

struct VectorsReader;

impl<'de> Visitor<'de> for VectorsReader {
    type Value = Vectors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers, or an object of them by name")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Vectors, A::Error> {
        match (Reader { ids: false }).visit_seq(sequence)? {
            Input::Vector(vector) => Ok(Vectors::One(vector)),
            Input::Id(_) => Err(A::Error::custom("expected a list of numbers")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vectors, A::Error> {
        let mut named = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            match map.next_value::<Named>()? {
                Named::Dense(vector) => {
                    named.insert(name, vector);
                }
                // `{"text": "…", "model": "…"}` in place of a vector.
                Named::Other => return Err(A::Error::custom(no_vector(&name))),
            }
        }
        Ok(Vectors::Named(named))
    }
}

/// What stands behind a name.
enum Named {
    Dense(Dense),
    Other,
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamedReader)
    }
}

struct NamedReader;

impl<'de> Visitor<'de> for NamedReader {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Named, E> {
        Ok(Named::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Named, A::Error> {
        match VectorsReader.visit_seq(sequence)? {
            Vectors::One(vector) => Ok(Named::Dense(vector)),
            Vectors::Named(_) => Ok(Named::Other),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
        let key: Option<String> = map.next_key()?;
        let sparse_or_text = no_vector(key.as_deref().unwrap_or_default());
        map.next_value::<IgnoredAny>()?;
        Err(A::Error::custom(sparse_or_text))
    }
}

impl Vectors {
    /// The vectors by name, ready to be written.
    pub(crate) fn prepared(self, schema: &Schema) -> BTreeMap<String, Vector> {
        match self {
            Self::One(vector) => BTreeMap::from([(String::new(), prepared(vector, schema, ""))]),
            Self::Named(named) => named
                .into_iter()
                .map(|(name, vector)| {
                    let vector = prepared(vector, schema, &name);
                    (name, vector)
                })
                .collect(),
        }
    }
}

/// A vector as it is written: where angles are compared, of length 1, as clients of the dialect expect to get it back.
pub(crate) fn prepared(Dense(mut values): Dense, schema: &Schema, name: &str) -> Vector {
    if config_of(schema, name).is_some_and(is_normalized) {
        let norm = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
        if norm.is_finite() && norm > f64::from(f32::EPSILON) {
            values.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
        }
    }
    Vector::F32(values)
}

/// What vectors of a name are like.
pub(crate) fn config_of<'a>(schema: &'a Schema, name: &str) -> Option<&'a VectorConfig> {
    schema.vectors().find(|(known, _)| *known == name).map(|(_, config)| config)
}

fn is_normalized(config: &VectorConfig) -> bool {
    config.metric == Metric::Cosine && matches!(config.element, ElementType::F32 | ElementType::F16)
}

/// The vectors of a point, on their way out: a list if the only one has no name.
#[derive(Debug)]
pub(crate) struct VectorsOut(pub(crate) BTreeMap<String, Vector>);

impl Serialize for VectorsOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.0.len(), self.0.get("")) {
            (1, Some(vector)) => Numbers(vector).serialize(serializer),
            _ => serializer.collect_map(self.0.iter().map(|(name, vector)| (name, Numbers(vector)))),
        }
    }
}

struct Numbers<'a>(&'a Vector);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Vector::F32(values) => serializer.collect_seq(values),
            Vector::U8(values) => serializer.collect_seq(values),
            Vector::I8(values) => serializer.collect_seq(values),
            _ => Err(serde::ser::Error::custom("a kind of vector that has no JSON yet")),
        }
    }
}

/// A vector or an id.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is asked for")]
enum InputShape {
    Vector(Vec<f32>),
    Id(Id),
}

/// A vector, or some by name.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is asked for")]
enum VectorsShape {
    One(Vec<f32>),
    Named(BTreeMap<String, Vec<f32>>),
}

shaped!(Dense, "Dense", Vec<f32>);
shaped!(Input, "Input", InputShape);
shaped!(Vectors, "Vectors", VectorsShape);
shaped!(VectorsOut, "VectorsOut", VectorsShape);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_or_named() {
        let read = |text| serde_json::from_str::<Vectors>(text).map_err(|error| error.to_string());
        assert_eq!(read("[1, -2.5]"), Ok(Vectors::One(Dense(vec![1.0, -2.5]))));
        let named = BTreeMap::from([("a".to_owned(), Dense(vec![1.0]))]);
        assert_eq!(read(r#"{"a": [1]}"#), Ok(Vectors::Named(named)));
        assert_eq!(read("{}"), Ok(Vectors::Named(BTreeMap::new())));
        for (text, part) in [
            ("[[1]]", "multi-vectors"),
            (r#"{"a": [[1]]}"#, "multi-vectors"),
            (r#"{"a": {"indices": [1], "values": [2.0]}}"#, "sparse"),
            (r#"{"text": "hello", "model": "m"}"#, "send vectors"),
            (r#"{"a": {"text": "hello", "model": "m"}}"#, "send vectors"),
            (r#"["1"]"#, "expected a number"),
            ("[null]", "expected a number"),
            ("7", "expected a list of numbers"),
            (r#"{"a": 7}"#, "expected a list of numbers"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn questions_are_vectors_or_ids() {
        let read = |text| serde_json::from_str::<Input>(text).map_err(|error| error.to_string());
        assert_eq!(read("[0.5]"), Ok(Input::Vector(Dense(vec![0.5]))));
        assert_eq!(read("7"), Ok(Input::Id(7.into())));
        assert!(matches!(read("\"f47ac10b-58cc-4372-a567-0e02b2c3d479\""), Ok(Input::Id(PointId::Uuid(_)))));
        for text in ["-1", "1.5", "\"x\"", "true", "[[0.5]]", r#"{"indices": []}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
