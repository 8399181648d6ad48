//! Changing what lies at a path.

use super::{FieldPath, Step};
use crate::value::{Object, Value};

impl FieldPath {
    /// Adds members to the objects at this path below an object. What is no object becomes one, what is missing on the way
    /// is made; positions that an array does not have are passed over, and what should be an array and is none becomes an
    /// empty one.
    pub(crate) fn set_members(&self, object: &mut Object, members: &Object) {
        let first = object.entry(self.first.clone()).or_insert_with(|| Object::new().into());
        set(first, &self.rest, members);
    }

    /// Removes what lies at this path below an object: a member, an element, or all elements of an array.
    pub(crate) fn remove(&self, object: &mut Object) {
        if self.rest.is_empty() {
            object.remove(&self.first);
        } else if let Some(value) = object.get_mut(&self.first) {
            remove(value, &self.rest);
        }
    }
}

/// Goes on from a value; it ends at the end of the steps, of which there are few.
fn set(value: &mut Value, steps: &[Step], members: &Object) {
    let Some((step, rest)) = steps.split_first() else {
        match value {
            Value::Object(there) => there.extend(members.clone()),
            other => *other = members.clone().into(),
        }
        return;
    };
    match (step, value) {
        (Step::Key(key), value) => {
            if value.as_object().is_none() {
                *value = Object::new().into();
            }
            if let Value::Object(there) = value {
                set(there.entry(key.clone()).or_insert_with(|| Object::new().into()), rest, members);
            }
        }
        (Step::Position(position), Value::Array(values)) => {
            values.get_mut(*position).into_iter().for_each(|value| set(value, rest, members));
        }
        (Step::Every, Value::Array(values)) => {
            values.iter_mut().for_each(|value| set(value, rest, members));
        }
        (Step::Position(_) | Step::Every, other) => *other = Value::Array(Vec::new()),
    }
}

fn remove(value: &mut Value, steps: &[Step]) {
    let Some((step, rest)) = steps.split_first() else { return };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) if rest.is_empty() => {
            members.remove(key);
        }
        (Step::Key(key), Value::Object(members)) => {
            members.get_mut(key).into_iter().for_each(|value| remove(value, rest));
        }
        (Step::Position(position), Value::Array(values)) if rest.is_empty() && *position < values.len() => {
            values.remove(*position);
        }
        (Step::Position(position), Value::Array(values)) => {
            values.get_mut(*position).into_iter().for_each(|value| remove(value, rest));
        }
        (Step::Every, Value::Array(values)) if rest.is_empty() => values.clear(),
        (Step::Every, Value::Array(values)) => values.iter_mut().for_each(|value| remove(value, rest)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Payload;
    use crate::value::tests::payload;

    fn check(edit: impl Fn(&FieldPath, &mut Object), path: &str, before: &str, after: &str) {
        let (path, mut document): (FieldPath, Payload) = (path.parse().unwrap(), payload(before));
        edit(&path, document.as_object_mut());
        assert_eq!(document, payload(after), "{path} in {before}");
    }

    #[test]
    fn members_are_set_at_a_path() {
        let members = payload(r#"{"x": 1}"#).into_object();
        let set = |path: &FieldPath, object: &mut Object| path.set_members(object, &members);
        for (path, before, after) in [
            ("a", r#"{"a": {"y": 2}}"#, r#"{"a": {"x": 1, "y": 2}}"#),
            ("a", r#"{"a": 7, "b": 8}"#, r#"{"a": {"x": 1}, "b": 8}"#),
            ("a.b", "{}", r#"{"a": {"b": {"x": 1}}}"#),
            ("a.b", r#"{"a": [1]}"#, r#"{"a": {"b": {"x": 1}}}"#),
            ("a[1]", r#"{"a": [1, {"x": 9}, 3]}"#, r#"{"a": [1, {"x": 1}, 3]}"#),
            ("a[3].b", r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            ("a[]", r#"{"a": [1, {"y": 2}]}"#, r#"{"a": [{"x": 1}, {"x": 1, "y": 2}]}"#),
            ("a[].b", r#"{"a": [1, {"c": 2}]}"#, r#"{"a": [{"b": {"x": 1}}, {"b": {"x": 1}, "c": 2}]}"#),
            ("a[0]", r#"{"a": {"y": 2}}"#, r#"{"a": []}"#),
            ("a[].b", "{}", r#"{"a": []}"#),
        ] {
            check(set, path, before, after);
        }
    }

    #[test]
    fn what_lies_at_a_path_is_removed() {
        for (path, before, after) in [
            ("a", r#"{"a": 1, "b": 2}"#, r#"{"b": 2}"#),
            ("a.b", r#"{"a": {"b": 1, "c": 2}, "b": 3}"#, r#"{"a": {"c": 2}, "b": 3}"#),
            ("a.b", r#"{"a.b": 1, "a": [{"b": 2}]}"#, r#"{"a.b": 1, "a": [{"b": 2}]}"#),
            ("\"a.b\"", r#"{"a.b": 1}"#, "{}"),
            ("a[1]", r#"{"a": [1, 2, 3]}"#, r#"{"a": [1, 3]}"#),
            ("a[5]", r#"{"a": [1]}"#, r#"{"a": [1]}"#),
            ("a[]", r#"{"a": [1, 2]}"#, r#"{"a": []}"#),
            ("a[].b", r#"{"a": [{"b": 1, "c": 2}, 3, {"b": 4}]}"#, r#"{"a": [{"c": 2}, 3, {}]}"#),
            ("a.b.c", r#"{"a": 1}"#, r#"{"a": 1}"#),
        ] {
            check(FieldPath::remove, path, before, after);
        }
    }
}
