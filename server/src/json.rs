//! The shapes of the dialect, from JSON and into it. What does not fit is refused while it is read.

pub(crate) mod behavior;
pub(crate) mod collection;
pub(crate) mod filter;
pub(crate) mod formula;
pub(crate) mod index;
pub(crate) mod one_or_many;
pub(crate) mod payload;
pub(crate) mod point;
pub(crate) mod query;
pub(crate) mod shape;
pub(crate) mod table;
pub(crate) mod vector;

use crate::error::ApiError;

/// Refuses to look for points in shards, of which there are none.
pub(crate) fn no_shards(shard_key: &Option<serde::de::IgnoredAny>) -> Result<(), ApiError> {
    match shard_key {
        Some(_) => Err(ApiError::bad_request("shard_key: collections have no shards of their own")),
        None => Ok(()),
    }
}
