//! Stage `sample`: reads every vector once, checks it, and keeps a sample for training and one for calibration.

use std::iter::Peekable;
use std::vec::IntoIter;

use nearline_storage::{BlobWriter, ExtentFileWriter, FileHeader};

use super::run::Build;
use super::{Stage, calibrate};
use crate::error::{IndexError, Result};
use crate::ids::{PAGE_IDS, write_page};
use crate::manifest::FileRole;
use crate::metric::Metric;
use crate::random::Random;
use crate::space::norm2;
use crate::vector::VectorSource;

/// The sample for training: a blob of rows.
pub(crate) const SAMPLE: &str = "build.sample";
/// The rows that stand in for queries: a blob of row numbers, `u32`, and one of rows.
pub(crate) const QUERIES: &str = "build.queries";
/// The kind of both files and of their extents.
pub(crate) const ROWS_FILE: [u8; 4] = *b"ROWS";
pub(crate) const ROWS_KIND: u16 = 9;

const LANE_SAMPLE: u64 = 1;
const LANE_QUERIES: u64 = 2;

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    build.progress.stage(Stage::Sample, 0, build.plan.rows);
    // Read again when they are needed; a bad one shall not be found after all other work.
    calibrate::given_queries(build)?;
    let queries = calibration_rows(build);
    let sample = sample_rows(build, &queries);
    build.state.sample_rows = sample.len() as u64;
    let mut writer = create(build, SAMPLE, 101)?;
    let mut blob = BlobWriter::new(&mut writer, ROWS_KIND);
    let mut kept = Vec::new();
    let norm_max = read_all(build, sample, queries.clone(), &mut blob, &mut kept)?;
    blob.finish()?;
    writer.sync()?;
    write_queries(build, &queries, &kept)?;
    if build.options.ids.is_some() {
        write_ids(build)?;
    }
    build.state.norm_max = norm_max;
    Ok(())
}

/// Rows that stand in for queries, none if queries were given.
pub(crate) fn calibration_rows(build: &Build<'_>) -> Vec<u64> {
    match build.options.calibration_queries {
        Some(_) => Vec::new(),
        None => Random::new(build.options.seed, LANE_QUERIES).strata(build.rows_kept, build.plan.rows),
    }
}

/// Rows to train on: not those that stand in for queries, if others are left.
fn sample_rows(build: &Build<'_>, queries: &[u64]) -> Vec<u64> {
    let rows = Random::new(build.options.seed, LANE_SAMPLE).strata(build.plan.sample_rows, build.plan.rows);
    let others: Vec<u64> = rows.iter().copied().filter(|row| queries.binary_search(row).is_err()).collect();
    if others.is_empty() { rows } else { others }
}

fn create(build: &Build<'_>, name: &str, which: u64) -> Result<ExtentFileWriter> {
    build.clear(name)?;
    let header = FileHeader { kind: ROWS_FILE, file_id: build.file_id(which) };
    Ok(ExtentFileWriter::create(build.disk.as_ref(), name, header)?)
}

/// Reads and checks all rows; returns the largest norm.
fn read_all(
    build: &Build<'_>,
    sample: Vec<u64>,
    queries: Vec<u64>,
    out: &mut BlobWriter<'_>,
    kept: &mut Vec<u8>,
) -> Result<f64> {
    let row_bytes = build.shape.row_bytes();
    let (mut sample, mut queries) = (sample.into_iter().peekable(), queries.into_iter().peekable());
    let mut norm_max = 0.0f64;
    let name = build.source.name();
    for_each_block(build, build.source, 0, |first, rows| {
        build.shape.check_rows(rows, first, build.options.metric != Metric::Cosine, &name)?;
        let block = first..first + (rows.len() / row_bytes) as u64;
        for row in taken(&mut sample, block.end) {
            out.write(&rows[(row - first) as usize * row_bytes..][..row_bytes])?;
        }
        for row in taken(&mut queries, block.end) {
            kept.extend_from_slice(&rows[(row - first) as usize * row_bytes..][..row_bytes]);
        }
        if build.options.metric == Metric::InnerProduct {
            norm_max = norm_max.max(largest_norm2(build, rows));
        }
        build.progress.advance(block.end - block.start);
        Ok(())
    })?;
    Ok(norm_max.sqrt())
}

/// The wanted rows below `end`.
fn taken(wanted: &mut Peekable<IntoIter<u64>>, end: u64) -> Vec<u64> {
    std::iter::from_fn(|| wanted.next_if(|&row| row < end)).collect()
}

fn largest_norm2(build: &Build<'_>, rows: &[u8]) -> f64 {
    let mut wide = vec![0.0; build.shape.dim];
    rows.chunks_exact(build.shape.row_bytes())
        .map(|row| {
            build.shape.widen(row, &mut wide);
            norm2(&wide)
        })
        .fold(0.0, f64::max)
}

/// Streams the rows of a source from `from` on, block by block, and sees to it that none is missing.
pub(crate) fn for_each_block(
    build: &Build<'_>,
    source: &dyn VectorSource,
    from: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let row_bytes = build.shape.row_bytes();
    let mut buffer = vec![0; build.plan.block_rows * row_bytes];
    let mut stream = source.rows(from).map_err(IndexError::Source)?;
    let mut first = from;
    while first < source.count() {
        build.check_cancelled()?;
        let rows = stream.next_rows(&mut buffer).map_err(IndexError::Source)?;
        if rows == 0 {
            return Err(IndexError::input(
                source.name(),
                format!("{first} vectors"),
                format!("{}, as its header says", source.count()),
            ));
        }
        each(first, &buffer[..rows * row_bytes])?;
        first += rows as u64;
    }
    Ok(())
}

fn write_queries(build: &Build<'_>, rows: &[u64], vectors: &[u8]) -> Result<()> {
    let mut writer = create(build, QUERIES, 102)?;
    let rows: Vec<u32> = rows.iter().map(|&row| build.source.row(row).0).collect();
    nearline_storage::write_blob(&mut writer, ROWS_KIND, bytemuck::cast_slice(&rows))?;
    nearline_storage::write_blob(&mut writer, ROWS_KIND, vectors)?;
    Ok(writer.sync()?)
}

fn write_ids(build: &Build<'_>) -> Result<()> {
    let Some(ids) = build.options.ids else { return Ok(()) };
    let name = build.name(FileRole::Ids);
    build.clear(&name)?;
    let mut writer = ExtentFileWriter::create(build.disk.as_ref(), &name, build.header(FileRole::Ids))?;
    let mut page = [0; PAGE_IDS];
    for (number, first) in (0..build.plan.rows).step_by(PAGE_IDS).enumerate() {
        let count = (build.plan.rows - first).min(PAGE_IDS as u64) as usize;
        ids.ids(first, &mut page[..count]).map_err(IndexError::Source)?;
        write_page(&mut writer, number as u32, &page[..count])?;
    }
    Ok(writer.sync()?)
}
