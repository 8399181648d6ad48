//! Field indexes: under which keys the values of a field are found, and which keys answer which condition.
//!
//! A field index is an ordered map from keys to the rows that have them, in one immutable file for each segment. It never
//! changes what a filter matches: it answers exactly as the payloads would, or names the rows whose payloads must be
//! asked.

pub(crate) use file::FieldFile;
pub use index::FIELD_INDEXES_MAX;
pub(crate) use index::{FieldFileInfo, FieldIndexInfo, field_name, field_number, is_field_file};
pub(crate) use key::ValueKeys;
pub use key::{KEYWORD_KEY_BYTES_MAX, keys_of};
pub use plan::{KeyQuery, KeySet, plan};
pub(crate) use writer::FieldWriter;

use crate::filter::TextOptions;

mod file;
mod index;
mod kept;
mod key;
mod plan;
mod rows;
#[cfg(test)]
pub(crate) mod tests;
mod tiles;
mod writer;

/// What sort of values an index of a field finds. Values of other sorts are in it too, but only as being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldType {
    /// Strings, for equality and beginnings.
    Keyword,
    /// Numbers, for equality and ranges. It finds floats too: what a condition matches does not depend on the index.
    Integer,
    /// Numbers, for ranges and equality: the same keys as [`FieldType::Integer`], under the name users give it.
    Float,
    /// Bools.
    Bool,
    /// Strings that name moments, for ranges.
    Datetime,
    /// Strings that are UUIDs in lower case with hyphens, for equality.
    Uuid,
    /// Objects with `lon` and `lat`, for shapes.
    Geo,
    /// Strings, for their tokens.
    Text(TextOptions),
}
