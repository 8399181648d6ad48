//! Stage `calibrate`: finds the cheapest settings that reach each recall.
//!
//! Held-out queries (given ones, or rows of the data that were not trained on and do not count as their own
//! neighbours) get their exact neighbours. Then all lists are read once, and for every query the candidates they hold are
//! noted down, with what their codes say of them. From these notes it is worked out what every setting would find and
//! cost, without searching.

mod choose;
mod collect;
mod sight;
mod simulate;
mod truth;

use nearline_storage::{BlobReader, ExtentFile, PAGE, ReadRange};

use super::Stage;
use super::copy::open_router;
use super::publish::create;
use super::run::Build;
use super::sample::{QUERIES, ROWS_FILE, ROWS_KIND};
use crate::error::{IndexError, Result};
use crate::manifest::FileRole;
use crate::metric::Metric;
use crate::posting::Codec;
use crate::random::Random;
use crate::space::Space;

/// Neighbours that are looked for: the largest k.
pub(super) const NEIGHBOURS: usize = 100;
const LANE_PICK: u64 = 6;

/// Queries to calibrate with, in the routing space.
pub(super) struct Queries {
    pub(super) dim: usize,
    pub(super) points: Vec<f32>,
    /// As they came, where lists hold raw vectors.
    pub(super) raw: Vec<u8>,
    /// The row each query is, if it is one: not its own neighbour.
    pub(super) rows: Option<Vec<u32>>,
}

impl Queries {
    pub(super) fn len(&self) -> usize {
        self.points.len() / self.dim
    }

    pub(super) fn point(&self, i: usize) -> &[f32] {
        &self.points[i * self.dim..][..self.dim]
    }
}

pub(crate) fn run(build: &mut Build<'_>) -> Result<()> {
    build.progress.stage(Stage::Calibrate, 0, build.plan.rows);
    let (space, router) = open_router(build)?;
    let queries = load_queries(build, &space)?;
    let truth = truth::exact(build, &space, &queries)?;
    let sights = sight::see(&router, &queries);
    let notes = collect::collect(build, &queries, &truth, &sights)?;
    let mut table = choose::choose(build, &sights, &truth, &notes);
    table.queries = queries.len() as u32;
    table.from_queries = build.options.calibration_queries.is_some();
    let mut writer = create(build, FileRole::Calibration)?;
    table.write(&mut writer)?;
    Ok(writer.sync()?)
}

fn load_queries(build: &Build<'_>, space: &Space) -> Result<Queries> {
    let dim = space.dim();
    let (rows, vectors) = match build.options.calibration_queries {
        None => kept_rows(build)?,
        Some(_) => (None, given_queries(build)?),
    };
    let mut points = vec![0.0; vectors.len() / build.shape.row_bytes() * dim];
    for (point, query) in points.chunks_exact_mut(dim).zip(vectors.chunks_exact(build.shape.row_bytes())) {
        space.embed_query(query, point);
    }
    let raw = if build.plan.codec == Codec::Raw { vectors } else { Vec::new() };
    Ok(Queries { dim, points, raw, rows })
}

/// The rows that stage `sample` kept.
fn kept_rows(build: &Build<'_>) -> Result<(Option<Vec<u32>>, Vec<u8>)> {
    let file = ExtentFile::open(build.disk.as_ref(), QUERIES, ROWS_FILE)?;
    let count = build.plan.query_rows as usize;
    let first = ReadRange { offset: PAGE as u64, bytes: nearline_storage::extent_bytes(&[count * 4]) };
    let rest = ReadRange { offset: first.end(), bytes: file.len().saturating_sub(first.end()) as usize };
    let mut rows = vec![0u32; count];
    BlobReader::new(&file, ROWS_KIND, first)?.read(bytemuck::cast_slice_mut(&mut rows))?;
    let mut vectors = vec![0; count * build.shape.row_bytes()];
    BlobReader::new(&file, ROWS_KIND, rest)?.read(&mut vectors)?;
    Ok((Some(rows), vectors))
}

/// Queries from the file that was given, as many as the plan allows.
pub(super) fn given_queries(build: &Build<'_>) -> Result<Vec<u8>> {
    let Some(source) = build.options.calibration_queries else { return Ok(Vec::new()) };
    let row_bytes = build.shape.row_bytes();
    let wanted = Random::new(build.options.seed, LANE_PICK).strata(build.plan.query_rows, source.count());
    let mut out = Vec::with_capacity(wanted.len() * row_bytes);
    let mut wanted = wanted.into_iter().peekable();
    let mut stream = source.rows(0).map_err(IndexError::Source)?;
    let mut buffer = vec![0; 256 * row_bytes];
    let mut first = 0;
    while wanted.peek().is_some() {
        let rows = stream.next_rows(&mut buffer).map_err(IndexError::Source)?;
        if rows == 0 {
            let expected = format!("{}, as its header says", source.count());
            return Err(IndexError::input(source.name(), format!("{first} vectors"), expected));
        }
        let block = &buffer[..rows * row_bytes];
        build.shape.check_rows(block, first, build.options.metric != Metric::Cosine, &source.name())?;
        while let Some(row) = wanted.next_if(|&row| row < first + rows as u64) {
            out.extend_from_slice(&block[(row - first) as usize * row_bytes..][..row_bytes]);
        }
        first += rows as u64;
    }
    Ok(out)
}
