//! What is kept with a collection to be shown again: settings that mean nothing here, but that clients expect to find.

use nearline::Payload;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// What is kept with a collection to be shown again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(pub(super) Map<String, Value>);

/// Under which key it is kept, beside what others may keep there.
const KEY: &str = "http";

impl Settings {
    /// As they are kept.
    pub(crate) fn read(metadata: &Payload) -> Self {
        let kept = metadata.get(KEY).and_then(|kept| serde_json::to_value(kept).ok());
        match kept {
            Some(Value::Object(members)) => Self(members),
            _ => Self::default(),
        }
    }

    /// As they will be kept, under their key.
    pub(crate) fn entry(self) -> Result<(&'static str, nearline::Value), ApiError> {
        let value = serde_json::from_value(Value::Object(self.0)).map_err(ApiError::wrong_input)?;
        Ok((KEY, value))
    }

    pub(super) fn merge_some<T: Serialize>(&mut self, key: &str, more: Option<&T>) {
        if let Some(more) = more.and_then(|more| serde_json::to_value(more).ok()) {
            self.merge(key, &more);
        }
    }

    /// Members that are not null take the place of those that are there.
    pub(super) fn merge(&mut self, key: &str, more: &Value) {
        merge(self.0.entry(key).or_insert_with(|| json!({})), more);
    }

    pub(super) fn merge_vector(&mut self, name: &str, more: &Value) {
        let vectors = self.0.entry("vectors").or_insert_with(|| json!({}));
        let mut vector = vectors.get(name).cloned().unwrap_or_else(|| json!({}));
        let (mut more, quantization) = (more.clone(), more["quantization_config"].clone());
        if !quantization.is_null() {
            // Another kind takes the place of the one that is there.
            let disabled = quantization == "Disabled";
            vector["quantization_config"] = if disabled { Value::Null } else { quantization };
            more["quantization_config"] = Value::Null;
        }
        merge(&mut vector, &more);
        vectors[name] = vector;
    }

    pub(super) fn replace(&mut self, key: &str, value: Option<&Value>) {
        match value {
            Some(value) if value == "Disabled" => drop(self.0.remove(key)),
            Some(value) => drop(self.0.insert(key.to_owned(), value.clone())),
            None => {}
        }
    }

    /// Defaults, with what is kept in their place.
    pub(super) fn over(&self, key: &str, usual: Value) -> Value {
        let mut all = usual;
        merge(&mut all, self.0.get(key).unwrap_or(&Value::Null));
        all
    }
}

pub(super) fn merge(there: &mut Value, more: &Value) {
    let (Value::Object(there), Value::Object(more)) = (there, more) else { return };
    for (key, value) in more.iter().filter(|(_, value)| !value.is_null()) {
        if !value.is_object() {
            there.insert(key.clone(), value.clone());
            continue;
        }
        let before = there.entry(key).or_insert(Value::Null);
        if !before.is_object() {
            *before = json!({});
        }
        merge(before, value);
    }
}
