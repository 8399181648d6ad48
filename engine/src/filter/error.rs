//! What can be wrong with a filter.

use crate::path::PathError;

/// Why a filter is refused: always the user's mistake, never the disk's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The key of a condition is no path.
    #[error("the key of a condition `{condition}`: {source}")]
    Key {
        /// The condition, as its builder is called.
        condition: &'static str,
        /// What is wrong with the key.
        source: PathError,
    },
    /// A bound of a range cannot be compared with.
    #[error("{condition} of {field}: {bound} is {found}; expected {expected}")]
    Bound {
        /// The condition.
        condition: &'static str,
        /// The key of the field.
        field: String,
        /// Which bound: `gt`, `gte`, `lt`, `lte`.
        bound: &'static str,
        /// What it is.
        found: String,
        /// What it could be.
        expected: &'static str,
    },
    /// A bound was put on a condition that has none.
    #[error("{condition}: {bound} belongs on a range or values_count; give it a condition of its own")]
    Misplaced {
        /// The condition.
        condition: &'static str,
        /// The bound.
        bound: &'static str,
    },
    /// A value to match is a float.
    #[error("{condition} of {field}: {found}; expected a keyword, an integer or a bool: floats take a range")]
    MatchFloat {
        /// The condition.
        condition: &'static str,
        /// The key of the field.
        field: String,
        /// The float.
        found: f64,
    },
    /// A shape is none on the earth.
    #[error("{condition} of {field}: {found}; expected {expected}")]
    Geo {
        /// The condition.
        condition: &'static str,
        /// The key of the field.
        field: String,
        /// What is wrong.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// At least no condition would have to hold.
    #[error("min_should: min_count is 0; expected 1 at least, or no min_should")]
    MinCount,
    /// A part of all points that there is not.
    #[error("slice: part {index} of {total}; expected a part below their number, which is 1 at least")]
    Slice {
        /// Parts.
        total: u32,
        /// The number of the part.
        index: u32,
    },
    /// A condition about whole points stands inside of a nested one.
    #[error("{condition} in nested of {field}: elements have neither ids nor vectors; move it outside")]
    InNested {
        /// The condition.
        condition: &'static str,
        /// The key of the nested condition.
        field: String,
    },
    /// Filters stand inside of filters too deeply.
    #[error("a filter is nested deeper than {limit} levels; flatten it")]
    TooDeep {
        /// Levels that are allowed, the outermost filter included.
        limit: usize,
    },
    /// There are too many conditions.
    #[error("a filter has more than {limit} conditions; matches_any takes many values in one")]
    TooManyConditions {
        /// Conditions that are allowed, those of inner filters included.
        limit: usize,
    },
    /// There are too many values.
    #[error("a filter has {found} values, ids and words up to {condition}; expected {limit} at most")]
    TooManyValues {
        /// The condition that has too many.
        condition: &'static str,
        /// Values so far.
        found: usize,
        /// Values that are allowed in all conditions together.
        limit: usize,
    },
}
