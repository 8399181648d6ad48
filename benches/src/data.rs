//! Generated vectors on disk, their queries and exact answers; and the bridge from one side's types to the other's.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nearline::{ElementType, Metric, RowStream, SourceError, VectorSource};
use nearline_datasets::{
    GroundTruth, Kind, RawVectors, RowReader, VectorFile, generate, generate_queries, ground_truth, load_raw,
};

use crate::scenario::Data;

/// A generated set, ready to be built and searched.
pub struct Prepared {
    /// The vectors.
    pub base: VectorFile,
    /// The queries.
    pub queries: RawVectors,
    /// The `k` nearest of each query.
    pub truth: GroundTruth,
    /// How distances are measured.
    pub metric: Metric,
}

/// A number that follows from another by chance (SplitMix64).
pub fn mixed(x: u64) -> u64 {
    let z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Generates a set into a folder and finds the `k` nearest of each query.
///
/// # Errors
/// When a name is unknown or the folder cannot be written.
pub fn prepare(data: &Data, k: usize, folder: &Path) -> Result<Prepared> {
    let kind: Kind = data.kind.parse()?;
    let element = theirs(&data.element)?;
    let paths = files(&data.element, folder);
    generate(kind, data.count, data.dim, element, data.seed)?.write_to(&paths.0)?;
    generate_queries(kind, data.queries, data.dim, element, data.seed)?.write_to(&paths.1)?;
    let (base, queries) = (VectorFile::open(&paths.0)?, load_raw(&paths.1)?);
    let (metric, judge) = metrics(&data.metric)?;
    let truth = ground_truth(&base, &queries, judge, k, 0, &|_, _| {})?;
    Ok(Prepared { base, queries, truth, metric })
}

fn files(element: &str, folder: &Path) -> (PathBuf, PathBuf) {
    let extension = if element == "f32" { "fbin".to_owned() } else { format!("{element}bin") };
    (folder.join(format!("base.{extension}")), folder.join(format!("query.{extension}")))
}

fn theirs(name: &str) -> Result<nearline_datasets::ElementType> {
    use nearline_datasets::ElementType::{F16, F32, I8, U8};
    match name {
        "f32" => Ok(F32),
        "f16" => Ok(F16),
        "u8" => Ok(U8),
        "i8" => Ok(I8),
        _ => bail!("element: found {name:?}, expected f32, f16, u8 or i8"),
    }
}

fn metrics(name: &str) -> Result<(Metric, nearline_datasets::Metric)> {
    match name {
        "l2" => Ok((Metric::L2, nearline_datasets::Metric::L2)),
        "ip" => Ok((Metric::InnerProduct, nearline_datasets::Metric::InnerProduct)),
        "cosine" => Ok((Metric::Cosine, nearline_datasets::Metric::Cosine)),
        _ => bail!("metric: found {name:?}, expected l2, ip or cosine"),
    }
}

/// A file of vectors as an index wants it.
pub struct Source<'a>(pub &'a VectorFile);

impl VectorSource for Source<'_> {
    fn name(&self) -> String {
        self.0.path().display().to_string()
    }

    fn element(&self) -> ElementType {
        match self.0.element() {
            nearline_datasets::ElementType::F32 => ElementType::F32,
            nearline_datasets::ElementType::F16 => ElementType::F16,
            nearline_datasets::ElementType::U8 => ElementType::U8,
            nearline_datasets::ElementType::I8 => ElementType::I8,
        }
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn count(&self) -> u64 {
        self.0.count()
    }

    fn rows(&self, from: u64) -> Result<Box<dyn RowStream + '_>, SourceError> {
        Ok(Box::new(Rows(self.0.rows(from)?)))
    }
}

struct Rows(RowReader);

impl RowStream for Rows {
    fn next_rows(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        Ok(self.0.read(out)?)
    }
}
