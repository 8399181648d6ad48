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

use self::collect::{BATCH_BYTES, NOTE_BYTES, PROBED_BYTES, ROOM};
use self::sight::RANKED;
use self::truth::{PAIR_BYTES, STEP_MIN};
use super::copy::open_router;
use super::publish::create;
use super::run::Build;
use super::sample::{QUERIES, ROWS_FILE, ROWS_KIND};
use super::{BuildOptions, Plan, Stage};
use crate::calibration::Residency;
use crate::directory::PLACE_BYTES;
use crate::error::{IndexError, Result};
use crate::manifest::FileRole;
use crate::metric::Metric;
use crate::posting::{Codec, ListLayout};
use crate::random::Random;
use crate::router::Near;
use crate::space::Space;
use crate::topk::Candidate;

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

/// Bytes that a step of the stage holds at its peak: those that do not depend on the number of queries, and those of
/// each query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) fixed: u64,
    pub(crate) query: u64,
}

/// What the steps of the stage hold beside the router: the exact neighbours, the nearest lists, the candidates.
pub(crate) fn needs(plan: &Plan, layout: ListLayout, options: &BuildOptions<'_>) -> [Need; 3] {
    let (row, given) = (layout.dim as u64 * 4, layout.shape.row_bytes() as u64);
    // Long lists are split.
    let lists = plan.lists + plan.lists / 4;
    let (ranked, entries) = (lists.min(RANKED as u64), plan.rows * plan.replicas as u64);
    // The best so far lie in a heap, which grows by doubling.
    let truth = (NEIGHBOURS.next_power_of_two() * size_of::<Candidate>()) as u64;
    let sight = ranked * (size_of::<Near>() + size_of::<u32>()) as u64 + ranked.next_power_of_two() * 4;
    // As read, and embedded.
    let query = given + row + truth;
    // A map by row has room for twice as many; made ready, a query has a table as large as itself.
    let pupil = 2 * row + ranked * PROBED_BYTES as u64 + 2 * truth;
    let notes = (2 * ROOM as u64).min(entries).next_power_of_two() * NOTE_BYTES as u64;
    let holds = layout.code().is_some() && !options.rows_outside;
    let keepers = if holds { Residency::ALL.len() as u64 } else { 1 };
    let postings = plan.lists * layout.extent_bytes(plan.list_cap, 0) as u64;
    // Distances, lists to be ranked, the ranks of their nodes.
    let ranking = (size_of::<f32>() + size_of::<Near>() + size_of::<u32>()) as u64;
    [
        Need {
            fixed: plan.block_rows as u64 * (given + row) + 2 * plan.window_bytes,
            query: query + row + (2 * STEP_MIN * PAIR_BYTES) as u64,
        },
        Need {
            fixed: 2 * lists * row + options.worker_threads() as u64 * lists * ranking,
            query: query + sight,
        },
        Need {
            fixed: lists * PLACE_BYTES as u64 + BATCH_BYTES.min(postings),
            query: query + sight + pupil + keepers * notes,
        },
    ]
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

/// Of the rows that stage `sample` kept, as many as the plan allows: it may be another by now.
fn kept_rows(build: &Build<'_>) -> Result<(Option<Vec<u32>>, Vec<u8>)> {
    let file = ExtentFile::open(build.disk.as_ref(), QUERIES, ROWS_FILE)?;
    let count = build.rows_kept as usize;
    let first = ReadRange { offset: PAGE as u64, bytes: nearline_storage::extent_bytes(&[count * 4]) };
    let rest = ReadRange { offset: first.end(), bytes: file.len().saturating_sub(first.end()) as usize };
    let mut kept = vec![0u32; count];
    BlobReader::new(&file, ROWS_KIND, first)?.read(bytemuck::cast_slice_mut(&mut kept))?;
    let wanted = Random::new(build.options.seed, LANE_PICK).strata(build.plan.query_rows, count as u64);
    let mut wanted = wanted.into_iter().peekable();
    let (mut rows, mut vectors, mut vector) = (Vec::new(), Vec::new(), vec![0; build.shape.row_bytes()]);
    let mut blob = BlobReader::new(&file, ROWS_KIND, rest)?;
    for (at, row) in (0..).zip(kept) {
        blob.read(&mut vector)?;
        if wanted.next_if_eq(&at).is_some() {
            rows.push(row);
            vectors.extend_from_slice(&vector);
        }
    }
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
