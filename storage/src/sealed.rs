//! Files made of one header page and then extents, back to back, to the end.

mod header;
mod read;
mod write;

pub use header::FileHeader;
pub use read::{ExtentFile, Extents};
pub use write::ExtentFileWriter;
