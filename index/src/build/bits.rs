//! How many bits a dimension the codes get, if nobody says: found out on the sample.

use nearline_storage::{BlobReader, ExtentFile, PAGE, ReadRange};
use rayon::prelude::*;

use super::plan::is_affordable;
use super::run::Build;
use super::sample::{ROWS_FILE, ROWS_KIND, SAMPLE};
use crate::cluster::kmeans;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::posting::{Codec, ListLayout};
use crate::quantize::{self, CodeShape, CodedList, CodedQuery, Scale};
use crate::random::Random;

/// Rows and queries of the trial, vectors a list, neighbours looked for.
const ROWS: usize = 8_192;
const QUERIES: usize = 128;
const LIST_VECTORS: usize = 32;
const NEIGHBOURS: usize = 10;
const ITERATIONS: usize = 4;
/// The recall by codes alone that is enough, when candidates can be reranked, and when they cannot.
const RECALL: f64 = 0.96;
const RECALL_ALONE: f64 = 0.99;
const LANE_BITS: u64 = 9;

/// Chooses the fewest bits that find nearly all neighbours by codes alone, within the disk an index may take. Where no code
/// is short enough beside the vectors themselves, lists hold the vectors.
pub(super) fn choose(build: &Build<'_>) -> Result<Codec> {
    let trial = Trial::prepare(build)?;
    let wanted = if build.options.rerank { RECALL } else { RECALL_ALONE };
    let Some(most) = most_bits(build) else { return Ok(Codec::Raw) };
    let bits = (1..most).find(|&bits| trial.recall(bits) >= wanted).unwrap_or(most);
    Ok(Codec::Rabitq { bits })
}

/// The most bits with which an index that keeps its rows is no larger than it should be.
fn most_bits(build: &Build<'_>) -> Option<u8> {
    if !build.options.rerank {
        return Some(8);
    }
    let dim = build.space().dim();
    let layout = |bits| ListLayout { codec: Codec::Rabitq { bits }, shape: build.shape, dim, by_slot: false };
    (1..=8).rev().find(|&bits| is_affordable(layout(bits)))
}

/// A part of the sample as lists, some of its rows as queries, and their exact neighbours.
struct Trial {
    dim: usize,
    points: Vec<f32>,
    queries: Vec<f32>,
    centroids: Vec<f32>,
    assignment: Vec<u32>,
    truth: Vec<Vec<u32>>,
}

impl Trial {
    fn prepare(build: &Build<'_>) -> Result<Self> {
        let space = build.space();
        let dim = space.dim();
        let all = build.state.sample_rows as usize;
        let random = Random::new(build.options.seed, LANE_BITS);
        let chosen = random.strata((ROWS + QUERIES) as u64, all as u64);
        let queries = (QUERIES.min(chosen.len() / 4)).max(usize::from(chosen.len() == 1));
        let file = ExtentFile::open(build.disk.as_ref(), SAMPLE, ROWS_FILE)?;
        let range = ReadRange { offset: PAGE as u64, bytes: (file.len() - PAGE as u64) as usize };
        let mut blob = BlobReader::new(&file, ROWS_KIND, range)?;
        let (mut row, mut point) = (vec![0; build.shape.row_bytes()], vec![0.0; dim]);
        let (mut points, mut asked) = (Vec::new(), Vec::new());
        let every = chosen.len() / queries.max(1);
        let mut wanted = chosen.iter().peekable();
        for at in 0..all as u64 {
            blob.read(&mut row)?;
            if wanted.next_if_eq(&&at).is_none() {
                continue;
            }
            space.embed(&row, &mut point);
            let taken = points.len() / dim + asked.len() / dim;
            let query = taken.is_multiple_of(every) && asked.len() / dim < queries;
            if query { &mut asked } else { &mut points }.extend_from_slice(&point);
        }
        blob.finish()?;
        if points.is_empty() {
            points.clone_from(&asked);
        }
        let lists = points.len() / dim / LIST_VECTORS;
        let clustering = kmeans(&points, dim, lists, ITERATIONS, random);
        let truth = asked.par_chunks(dim).map(|query| nearest(query, &points, dim)).collect();
        let (centroids, assignment) = (clustering.centroids, clustering.assignment);
        Ok(Self { dim, points, queries: asked, centroids, assignment, truth })
    }

    /// The recall of the neighbours by estimates alone, when all lists are looked at.
    fn recall(&self, bits: u8) -> f64 {
        let shape = CodeShape { dim: self.dim, bits: bits.into() };
        let members = crate::cluster::Members::new(&self.assignment, self.centroids.len() / self.dim);
        let lists: Vec<quantize::Encoded> = members
            .ranges
            .par_iter()
            .enumerate()
            .map(|(list, range)| {
                let rows = &members.points[range.clone()];
                let vectors: Vec<f32> = rows
                    .iter()
                    .flat_map(|&row| &self.points[row as usize * self.dim..][..self.dim])
                    .copied()
                    .collect();
                quantize::encode(shape, Scale::Unbiased, self.centroid(list), &vectors, rows)
            })
            .collect();
        let found: usize = self
            .queries
            .par_chunks(self.dim)
            .zip(&self.truth)
            .map(|(query, truth)| {
                let mut coded = CodedQuery::default();
                coded.set(shape, query);
                let mut all: Vec<(f32, u32)> = Vec::new();
                for (list, encoded) in lists.iter().enumerate() {
                    let squared = Kernel::best().l2_f32(query, self.centroid(list)) as f32;
                    let (signs, records) = (&encoded.signs, &encoded.records);
                    let codes = CodedList { shape, signs, records, bounds: encoded.bounds, slots: None };
                    all.extend((0..codes.len()).map(|i| (coded.full(&codes, i, squared), codes.row(i))));
                }
                all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                all.iter().take(truth.len()).filter(|(_, row)| truth.contains(row)).count()
            })
            .sum();
        let wanted: usize = self.truth.iter().map(Vec::len).sum();
        found as f64 / wanted.max(1) as f64
    }

    fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.dim..][..self.dim]
    }
}

/// The rows nearest to a query.
fn nearest(query: &[f32], points: &[f32], dim: usize) -> Vec<u32> {
    let distances = points.chunks_exact(dim).map(|point| Kernel::best().l2_f32(query, point));
    let mut all: Vec<(f64, u32)> = distances.zip(0..).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(NEIGHBOURS);
    all.into_iter().map(|(_, row)| row).collect()
}
