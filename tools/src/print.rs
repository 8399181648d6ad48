//! Standard output and error, without the panics of `println!` when nobody reads them.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// A line on standard output.
pub(crate) fn line(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// One JSON document on a line of standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string(value)?)
}

/// A line on standard error. If nobody reads it, so be it.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
