//! Filters that were checked: keys parsed, values sorted, texts taken apart.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::filter::geo::Shape;
use crate::filter::text::TextOptions;
use crate::path::FieldPath;
use crate::point_id::PointId;
use crate::value::{Number, Value};

/// A filter that was checked, ready to be asked about points or to be planned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    pub(crate) root: Group,
}

impl Checked {
    /// What holds for points for which both hold.
    pub(crate) fn and(self, other: Self) -> Self {
        let must = vec![Node::Group(self.root), Node::Group(other.root)];
        Self { root: Group { must, ..Group::default() } }
    }

    /// The outermost group of conditions.
    pub fn group(&self) -> &Group {
        &self.root
    }
}

/// A checked filter or part of one; its fields are those of [`Filter`](crate::Filter).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// All of these hold.
    pub must: Vec<Node>,
    /// Any of these holds, if there are any.
    pub should: Vec<Node>,
    /// None of these holds.
    pub must_not: Vec<Node>,
    /// So many of these hold.
    pub min_should: Option<(usize, Vec<Node>)>,
}

/// A checked condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// About the values at a path.
    Field {
        /// The path, from where the group's objects begin.
        path: FieldPath,
        /// What the values must be like.
        test: Test,
    },
    /// The point's id is among these.
    HasId(BTreeSet<PointId>),
    /// The point has the vector of this name.
    HasVector(String),
    /// The point is in this one of so many parts.
    Slice {
        /// Parts, 1 at least.
        total: u32,
        /// The number of the part.
        index: u32,
    },
    /// The group holds for an object at the path.
    Nested {
        /// The path of the objects; it ends in `[]`.
        path: FieldPath,
        /// What holds for one of them.
        group: Group,
    },
    /// The group holds.
    Group(Group),
}

/// What the values of a field must be like.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Equal to one of these.
    Match(Scalars),
    /// Not null and none of these.
    Except(Scalars),
    /// A string that begins so.
    Prefix(String),
    /// A string with these tokens.
    Text(TextQuery),
    /// A number in an interval; neither end is NaN.
    Numbers(Interval<Number>),
    /// A moment in an interval of microseconds.
    Moments(Interval<i64>),
    /// A place in a shape.
    Geo(Shape),
    /// So many values.
    Count(Interval<Number>),
    /// No value but nulls and empty arrays.
    IsEmpty,
    /// A null, as a value or in an array.
    IsNull,
}

/// A set of keywords, integers and bools.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scalars {
    /// The keywords.
    pub keywords: BTreeSet<String>,
    /// The integers, all of them such as a [`Number`] holds.
    pub integers: BTreeSet<i128>,
    /// The bools.
    pub bools: BTreeSet<bool>,
}

impl Scalars {
    /// Whether the set has this value.
    pub fn contains(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.keywords.contains(text),
            Value::Number(number) => number.as_i128().is_some_and(|integer| self.integers.contains(&integer)),
            Value::Bool(value) => self.bools.contains(value),
            _ => false,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.keywords.len() + self.integers.len() + self.bools.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How the tokens of a query are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMode {
    /// All of them are in the string.
    All,
    /// Any of them is.
    Any,
    /// The words follow each other.
    Phrase,
}

/// A text that is looked for.
#[derive(Clone, Debug, PartialEq)]
pub struct TextQuery {
    /// How strings of payloads are taken apart.
    pub options: TextOptions,
    /// How the tokens are looked for.
    pub mode: TextMode,
    /// The tokens, sorted, each once.
    pub tokens: BTreeSet<String>,
    /// The words of a phrase, in order; otherwise empty.
    pub words: Vec<String>,
}

/// Everything between two ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval<T> {
    /// The lower end.
    pub from: Bound<T>,
    /// The upper end.
    pub to: Bound<T>,
}

impl<T> Interval<T> {
    /// Whether a value lies inside, given its order against an end.
    pub(crate) fn contains(&self, order: impl Fn(&T) -> Option<Ordering>) -> bool {
        let above = match &self.from {
            Bound::Included(end) => matches!(order(end), Some(Ordering::Greater | Ordering::Equal)),
            Bound::Excluded(end) => order(end) == Some(Ordering::Greater),
            Bound::Unbounded => true,
        };
        above
            && match &self.to {
                Bound::Included(end) => matches!(order(end), Some(Ordering::Less | Ordering::Equal)),
                Bound::Excluded(end) => order(end) == Some(Ordering::Less),
                Bound::Unbounded => true,
            }
    }
}
