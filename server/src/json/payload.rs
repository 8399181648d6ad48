//! Which part of payloads and vectors is wanted.

use std::collections::BTreeMap;

use nearline::{Object, Payload, Schema, Value, Vector};
use schemars::JsonSchema;
use serde::Deserialize;

use super::vector::{VectorsOut, config_of};
use crate::error::ApiError;

/// What of a payload is wanted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a bool, a list of paths, {include: [paths]} or {exclude: [paths]}")]
pub(crate) enum WithPayload {
    All(bool),
    Paths(Vec<String>),
    Include(Include),
    Exclude(Exclude),
}

/// Only what lies at these paths.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Include {
    include: Vec<String>,
}

/// All but what lies at these paths.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exclude {
    exclude: Vec<String>,
}

/// Which vectors are wanted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a bool or a list of names")]
pub(crate) enum WithVector {
    All(bool),
    Names(Vec<String>),
}

impl WithPayload {
    /// Whether anything of payloads is wanted.
    pub(crate) fn wants_any(&self) -> bool {
        !matches!(self, Self::All(false))
    }

    /// The part of a payload that is wanted.
    pub(crate) fn select(&self, payload: Payload) -> Option<Payload> {
        match self {
            Self::All(false) => None,
            Self::All(true) => Some(payload),
            Self::Paths(paths) | Self::Include(Include { include: paths }) => {
                let patterns: Vec<_> = paths.iter().map(|path| steps(path)).collect();
                let is_on_the_way = |at: &[String]| patterns.iter().any(|pattern| agree(pattern, at));
                Some(part(payload.into_object(), &is_on_the_way, &mut Vec::new()).into())
            }
            Self::Exclude(Exclude { exclude }) => {
                let patterns: Vec<_> = exclude.iter().map(|path| steps(path)).collect();
                let is_kept = |at: &[String]| {
                    !patterns.iter().any(|pattern| pattern.len() <= at.len() && agree(pattern, at))
                };
                Some(part(payload.into_object(), &is_kept, &mut Vec::new()).into())
            }
        }
    }
}

/// The steps of a path: `a.b[].c` as `a`, `.b`, `[]`, `.c`.
fn steps(path: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut quoted = false;
    for letter in path.chars() {
        match letter {
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => steps.push(letter.to_string()),
            _ => steps.last_mut().into_iter().for_each(|step| step.push(letter)),
        }
    }
    steps
}

/// Whether two ways are the same as far as the shorter one goes.
fn agree(a: &[String], b: &[String]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// The members of an object that are kept, `at` being the way to it.
fn part(object: Object, is_kept: &dyn Fn(&[String]) -> bool, at: &mut Vec<String>) -> Object {
    let mut kept = Object::new();
    for (key, value) in object {
        at.push(if at.is_empty() { key.clone() } else { format!(".{key}") });
        if is_kept(at) {
            kept.insert(key, part_of_value(value, is_kept, at));
        }
        at.pop();
    }
    kept
}

fn part_of_value(value: Value, is_kept: &dyn Fn(&[String]) -> bool, at: &mut Vec<String>) -> Value {
    match value {
        Value::Object(object) => part(object, is_kept, at).into(),
        Value::Array(values) => {
            at.push("[]".to_owned());
            let kept = if is_kept(at) {
                values.into_iter().map(|value| part_of_value(value, is_kept, at)).collect()
            } else {
                Vec::new()
            };
            at.pop();
            Value::Array(kept)
        }
        scalar => scalar,
    }
}

impl WithVector {
    /// Whether any vectors are wanted.
    pub(crate) fn wants_any(&self) -> bool {
        !matches!(self, Self::All(false))
    }

    /// Refuses names that no vector has.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), ApiError> {
        let Self::Names(names) = self else { return Ok(()) };
        match names.iter().find(|name| config_of(schema, name).is_none()) {
            Some(name) => Err(ApiError::no_vector(name)),
            None => Ok(()),
        }
    }

    /// The vectors that are wanted.
    pub(crate) fn select(&self, mut vectors: BTreeMap<String, Vector>) -> Option<VectorsOut> {
        match self {
            Self::All(false) => return None,
            Self::All(true) => {}
            Self::Names(names) => vectors.retain(|name, _| names.contains(name)),
        }
        Some(VectorsOut(vectors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(with: &str, payload: &str) -> String {
        let with: WithPayload = serde_json::from_str(with).unwrap();
        let payload = serde_json::from_str(payload).unwrap();
        serde_json::to_string(&with.select(payload)).unwrap()
    }

    #[test]
    fn parts_of_payloads_are_selected() {
        let payload = r#"{"a":{"b":1,"c":[{"d":2,"e":3},{"d":4}]},"ab":5,"f":[1,2]}"#;
        for (with, right) in [
            ("true", payload),
            ("false", "null"),
            (r#"["a"]"#, r#"{"a":{"b":1,"c":[{"d":2,"e":3},{"d":4}]}}"#),
            (r#"["a.b","f"]"#, r#"{"a":{"b":1},"f":[1,2]}"#),
            (r#"{"include":["a.c[].d"]}"#, r#"{"a":{"c":[{"d":2},{"d":4}]}}"#),
            (r#"{"include":["nothing"]}"#, "{}"),
            (r#"{"exclude":["a"]}"#, r#"{"ab":5,"f":[1,2]}"#),
            (r#"{"exclude":["a.c[].e","f","ab"]}"#, r#"{"a":{"b":1,"c":[{"d":2},{"d":4}]}}"#),
        ] {
            assert_eq!(selected(with, payload), right, "{with}");
        }
        for wrong in ["1", r#"{"include":[],"exclude":[]}"#, r#"{"only":[]}"#, "[1]"] {
            assert!(serde_json::from_str::<WithPayload>(wrong).is_err(), "{wrong}");
        }
    }
}
