//! Paths into payloads: `city`, `address.street`, `rooms[].beds`, `rooms[0].beds`, `"a.b".c`.

use std::fmt;
use std::str::FromStr;

use crate::value::{Object, Payload, Value};

mod edit;
#[cfg(test)]
mod tests;

/// The length of a path at most.
pub const PATH_BYTES_MAX: usize = 1024;

/// The steps of a path at most; a payload is not nested deeper.
pub const PATH_STEPS_MAX: usize = 64;

/// Where in a payload values lie.
///
/// A path is keys with points between them. Behind a key, `[3]` is the element at a position of an array, `[]` every
/// element. A key that holds a point or a bracket stands in double quotes; a key cannot hold a double quote.
///
/// ```
/// use nearline::{FieldPath, Payload, Value, values_at};
///
/// let payload = Payload::new().with("rooms", [
///     Value::from(Payload::from([("beds", 2)])),
///     Value::from(Payload::from([("beds", 1)])),
/// ]);
/// let beds: FieldPath = "rooms[].beds".parse()?;
/// assert_eq!(values_at(&payload, &beds).collect::<Vec<_>>(), [&Value::from(2), &Value::from(1)]);
/// # Ok::<(), nearline::PathError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    first: String,
    rest: Vec<Step>,
}

/// One step behind the first key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    /// Into the member of an object.
    Key(String),
    /// To an element of an array.
    Position(usize),
    /// To every element of an array.
    Every,
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?}, at byte {at}: {found}; expected {expected}, as in address.street or rooms[].beds")]
pub struct PathError {
    /// The text, cut if it is long.
    pub path: String,
    /// Where in the text it goes wrong, in bytes.
    pub at: usize,
    /// What is there.
    pub found: String,
    /// What could be there.
    pub expected: &'static str,
}

/// All values at a path, as they are: arrays stay whole. A path through an array without `[]` or a position leads
/// nowhere, like a path through anything else that has no such member.
pub fn values_at<'a>(payload: &'a Payload, path: &FieldPath) -> impl Iterator<Item = &'a Value> + use<'a> {
    path.select(payload.as_object()).into_iter()
}

/// What conditions compare: all values at a path, of arrays their elements. Arrays inside of arrays stay whole.
pub fn elements_at<'a>(payload: &'a Payload, path: &FieldPath) -> impl Iterator<Item = &'a Value> + use<'a> {
    values_at(payload, path).flat_map(elements)
}

/// The elements of an array, or the value itself.
pub(crate) fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(values) => values.as_slice(),
        other => std::slice::from_ref(other),
    }
    .iter()
}

impl FieldPath {
    /// The path of one key, whatever characters it has.
    pub fn key(key: impl Into<String>) -> Self {
        Self { first: key.into(), rest: Vec::new() }
    }

    /// This path to arrays, then `[]` unless it ends so, then `inner`: where a path of a nested condition lies in
    /// the whole payload.
    pub fn of_element(&self, inner: &Self) -> Self {
        let mut path = self.every_element();
        path.rest.push(Step::Key(inner.first.clone()));
        path.rest.extend_from_slice(&inner.rest);
        path
    }

    /// This path, and `[]` behind it unless it ends so.
    pub(crate) fn every_element(&self) -> Self {
        let mut path = self.clone();
        if path.rest.last() != Some(&Step::Every) {
            path.rest.push(Step::Every);
        }
        path
    }

    /// All values at this path below an object, in order.
    pub(crate) fn select<'a>(&self, object: &'a Object) -> Vec<&'a Value> {
        let mut found = Vec::new();
        if let Some(value) = object.get(&self.first) {
            walk(value, &self.rest, &mut found);
        }
        found
    }
}

/// Goes on from a value; it ends at the end of the steps or of the payload, so never too deep.
fn walk<'a>(value: &'a Value, steps: &[Step], found: &mut Vec<&'a Value>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(value);
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            members.get(key).into_iter().for_each(|value| walk(value, rest, found));
        }
        (Step::Position(position), Value::Array(values)) => {
            values.get(*position).into_iter().for_each(|value| walk(value, rest, found));
        }
        (Step::Every, Value::Array(values)) => values.iter().for_each(|value| walk(value, rest, found)),
        _ => {}
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > PATH_BYTES_MAX {
            return Err(parser.wrong("more than 1024 bytes", "a shorter path"));
        }
        let mut path = Self::key(parser.key()?);
        while let Some(next) = parser.peek() {
            if path.rest.len() + 1 == PATH_STEPS_MAX {
                return Err(parser.wrong("more than 64 steps", "a shorter path"));
            }
            path.rest.push(match next {
                '.' => {
                    parser.at += 1;
                    Step::Key(parser.key()?)
                }
                '[' => parser.brackets()?,
                _ => return Err(parser.unexpected("`.`, `[` or the end")),
            });
        }
        Ok(path)
    }
}

/// How far a path is read.
struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn key(&mut self) -> Result<String, PathError> {
        if let Some(quoted) = self.rest().strip_prefix('"') {
            let Some(len) = quoted.find('"') else {
                return Err(self.wrong("a quote that is never closed", "a second `\"` behind the key"));
            };
            let key = quoted[..len].to_owned();
            self.at += len + 2;
            return Ok(key);
        }
        let len = self.rest().find(SPECIAL).unwrap_or(self.rest().len());
        if len == 0 {
            return Err(self.unexpected("a key"));
        }
        let key = self.rest()[..len].to_owned();
        self.at += len;
        Ok(key)
    }

    fn brackets(&mut self) -> Result<Step, PathError> {
        let Some(len) = self.rest().find(']') else {
            return Err(self.wrong("a bracket that is never closed", "`[]` or a position"));
        };
        let inside = &self.rest()[1..len];
        let step = match (inside.is_empty(), inside.bytes().all(|byte| byte.is_ascii_digit())) {
            (true, _) => Step::Every,
            (_, true) => match inside.parse() {
                Ok(position) => Step::Position(position),
                Err(_) => return Err(self.wrong("a position that is too large", "a smaller one")),
            },
            _ => return Err(self.wrong(format!("`[{inside}]`"), "`[]` or a position")),
        };
        self.at += len + 1;
        Ok(step)
    }

    fn unexpected(&self, expected: &'static str) -> PathError {
        let found = self.peek().map_or("the end".to_owned(), |next| format!("`{next}`"));
        self.wrong(found, expected)
    }

    fn wrong(&self, found: impl Into<String>, expected: &'static str) -> PathError {
        let path = self.text.chars().take(PATH_BYTES_MAX).collect();
        PathError { path, at: self.at, found: found.into(), expected }
    }
}

/// What a key outside of quotes cannot hold.
const SPECIAL: [char; 4] = ['.', '[', ']', '"'];

impl fmt::Display for FieldPath {
    /// Prints the path as it is read, with quotes only where they are needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_key(&self.first, f)?;
        for step in &self.rest {
            match step {
                Step::Key(key) => {
                    f.write_str(".")?;
                    print_key(key, f)?;
                }
                Step::Position(position) => write!(f, "[{position}]")?,
                Step::Every => f.write_str("[]")?,
            }
        }
        Ok(())
    }
}

fn print_key(key: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if key.is_empty() || key.contains(SPECIAL) { write!(f, "\"{key}\"") } else { f.write_str(key) }
}
