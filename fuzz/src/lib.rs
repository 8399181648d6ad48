//! What fuzz targets share.
#![forbid(unsafe_code)]

pub mod datasets;
pub mod embedding;
pub mod index;
