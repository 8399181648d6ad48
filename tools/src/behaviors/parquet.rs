//! Tables of Parquet: logs of behaviours, histories as LongCTR has them, vectors of items. They are read only if the program was built
//! with the feature `parquet`; this is the file that asks whether it was.

#[cfg(feature = "parquet")]
mod column;
#[cfg(feature = "parquet")]
mod items;
#[cfg(feature = "parquet")]
mod levels;
#[cfg(feature = "parquet")]
mod rows;
#[cfg(feature = "parquet")]
mod samples;
#[cfg(feature = "parquet")]
mod table;
#[cfg(test)]
#[cfg(feature = "parquet")]
mod tests;

use std::path::Path;

use nearline::Behavior;

use super::samples::Sample;

/// Behaviours, each with its number from 1.
pub(super) type Behaviors = Box<dyn Iterator<Item = anyhow::Result<(u64, Behavior)>>>;

/// Some items, and their vectors one behind the other.
pub(super) type Items = Box<dyn Iterator<Item = anyhow::Result<(Vec<u64>, Vec<f32>)>>>;

/// Whether a name is that of a table of Parquet.
pub(super) fn is_named(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The behaviours of a table.
#[cfg(feature = "parquet")]
pub(super) fn behaviors(path: &Path) -> anyhow::Result<Behaviors> {
    let mut rows = rows::Rows::open(path)?;
    Ok(Box::new(until_error(move || rows.next())))
}

/// The items of a table, of `dim` elements each. Those of a table that does not number them are numbered from `first`.
#[cfg(feature = "parquet")]
pub(super) fn items(path: &Path, first: Option<u64>, dim: usize) -> anyhow::Result<Items> {
    let mut items = items::Items::open(path, first, dim)?;
    Ok(Box::new(until_error(move || items.next())))
}

/// What comes one after the other; nothing comes behind an error.
#[cfg(feature = "parquet")]
fn until_error<T>(
    mut next: impl FnMut() -> anyhow::Result<Option<T>>,
) -> impl Iterator<Item = anyhow::Result<T>> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        let found = if is_over { None } else { next().transpose() };
        is_over = !matches!(found, Some(Ok(_)));
        found
    })
}

/// The samples of a table, by user.
#[cfg(feature = "parquet")]
pub(super) fn samples(path: &Path) -> anyhow::Result<Vec<(u64, Sample)>> {
    samples::read(path)
}

#[cfg(not(feature = "parquet"))]
pub(super) fn samples(path: &Path) -> anyhow::Result<Vec<(u64, Sample)>> {
    Err(not_built(path))
}

#[cfg(not(feature = "parquet"))]
pub(super) fn behaviors(path: &Path) -> anyhow::Result<Behaviors> {
    Err(not_built(path))
}

#[cfg(not(feature = "parquet"))]
pub(super) fn items(path: &Path, _: Option<u64>, _: usize) -> anyhow::Result<Items> {
    Err(not_built(path))
}

#[cfg(not(feature = "parquet"))]
fn not_built(path: &Path) -> anyhow::Error {
    crate::exit::usage(format!(
        "{}: this program was built without Parquet; build it with the feature: \
         cargo build --release -p nearline-tools --features parquet",
        path.display()
    ))
}
