//! Vectors of items, from a file into a space.

use std::path::{Path, PathBuf};

use nearline::BehaviorSpace;
use nearline_datasets::VectorFile;

use super::parquet;
use crate::{exit, interrupt};

/// Items put together.
const ROWS: usize = 1000;

/// Where vectors of items come from.
#[derive(clap::Args)]
pub(crate) struct ItemsArgs {
    /// Vectors of items, numbered from 0: fvecs, fbin, f16bin, u8bin, npy and others, each also with .gz, or
    /// parquet with the column vector and perhaps item
    #[arg(long)]
    items: Option<PathBuf>,
    /// Number of the first of these items, where the file does not number them [default: 0]
    #[arg(long, requires = "items")]
    first_item: Option<u64>,
}

impl ItemsArgs {
    /// Puts all of them, if there is a file. How many were new is added to `count` batch by batch: if it fails, those counted are
    /// there to stay.
    pub(super) fn put(&self, space: &BehaviorSpace, count: &mut usize) -> anyhow::Result<()> {
        match &self.items {
            None => Ok(()),
            Some(path) if parquet::is_named(path) => put_table(space, path, self.first_item, count),
            Some(path) => put_vectors(space, path, self.first_item, count),
        }
    }
}

fn put_vectors(
    space: &BehaviorSpace,
    path: &Path,
    first: Option<u64>,
    count: &mut usize,
) -> anyhow::Result<()> {
    let file = VectorFile::open(path)?;
    let dim = space.shape().dim();
    if file.dim() != dim {
        let found = file.dim();
        return Err(exit::bad_input(format!(
            "{}: {found} elements a vector; expected {dim}",
            path.display()
        )));
    }
    let mut rows = file.rows(0)?;
    let (mut bytes, mut item) = (vec![0; ROWS * file.row_bytes()], first.unwrap_or(0));
    loop {
        interrupt::check()?;
        let read = rows.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        let mut vectors = vec![0.0; read * dim];
        file.element().widen(&bytes[..read * file.row_bytes()], &mut vectors);
        let items: Vec<u64> = (item..item + read as u64).collect();
        *count += space.put_items(&items, &vectors)?.items;
        item += read as u64;
    }
}

fn put_table(
    space: &BehaviorSpace,
    path: &Path,
    first: Option<u64>,
    count: &mut usize,
) -> anyhow::Result<()> {
    for batch in parquet::items(path, first, space.shape().dim())? {
        interrupt::check()?;
        let (items, vectors) = batch?;
        *count += space.put_items(&items, &vectors)?.items;
    }
    Ok(())
}
