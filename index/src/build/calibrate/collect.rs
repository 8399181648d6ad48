//! What the lists hold for every query: its candidates, and what their codes say of them.

use std::collections::HashMap;

use nearline_storage::ExtentFile;
use rayon::prelude::*;

use super::sight::{Sight, Sights};
use super::{NEIGHBOURS, Queries};
use crate::build::run::Build;
use crate::calibration::Residency;
use crate::directory::{Directory, Place};
use crate::error::Result;
use crate::manifest::FileRole;
use crate::metric::Scorer;
use crate::posting::{Body, ListLayout, Posting};
use crate::quantize::{BLOCK, CodedList, CodedQuery, SignEstimates};
use crate::search::aligned;
use crate::topk::Candidate;

/// Candidates kept for each query and residency.
pub(super) const KEPT: usize = 4 * NEIGHBOURS;
/// Bytes of lists that are looked at together.
pub(crate) const BATCH_BYTES: u64 = 4 << 20;
/// A candidate that is no true neighbour.
pub(super) const NO_NEIGHBOUR: u32 = u32::MAX;

/// A candidate of one query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    /// Its estimated squared distance.
    pub(super) distance: f32,
    /// Half the width of the estimate's interval.
    pub(super) error: f32,
    /// The lower bound by its signs.
    pub(super) lower: f32,
    /// The rank, for the query, of the list that holds it, and of that list's node.
    pub(super) rank: u32,
    pub(super) node_rank: u32,
    /// Its row; once all are collected, the row's number among those of the query.
    pub(super) row: u32,
    /// Which of the true neighbours it is, the nearest being 0.
    pub(super) neighbour: u32,
}

/// The candidates of all queries under one residency; each query's are nearest first by estimate.
#[derive(Debug)]
pub(super) struct Notes {
    pub(super) residency: Residency,
    pub(super) queries: Vec<Vec<Note>>,
}

/// Reads all lists and notes the candidates of all queries, for each residency that such lists can have.
pub(super) fn collect(
    build: &Build<'_>,
    queries: &Queries,
    truth: &[Vec<Candidate>],
    sights: &Sights,
) -> Result<Vec<Notes>> {
    let layout = build.list_layout(queries.dim);
    let residencies: &[Residency] = match layout.code() {
        None => &[Residency::Lists],
        // Nothing is held of an index that changes.
        Some(_) if build.options.rows_outside => &[Residency::Lists],
        Some(_) if build.reranks() => &Residency::ALL,
        Some(_) => &[Residency::Lists, Residency::Codes],
    };
    let mut pupils: Vec<Pupil> = (0..queries.len())
        .map(|i| {
            let reader = Reader::new(build, queries, layout, i);
            Pupil::new(reader, queries, i, &truth[i], &sights.queries[i], residencies)
        })
        .collect();
    let open = |role: FileRole| ExtentFile::open(build.disk.as_ref(), &build.name(role), role.kind());
    let (postings, directory) = (open(FileRole::Postings)?, open(FileRole::Directory)?);
    let directory = Directory::read(&directory, build.state.lists as usize, build.plan.rows, postings.len())?;
    let (mut bytes, mut first) = (Vec::new(), 0);
    while first < build.state.lists {
        build.check_cancelled()?;
        let places = batch(&directory.places()[first as usize..]);
        let start = places[0].offset;
        bytes.resize((places[places.len() - 1].range().end() - start) as usize, 0);
        postings.file().read_at(start, &mut bytes)?;
        let lists = decode(&postings, places, first, &bytes, layout)?;
        pupils.par_iter_mut().for_each(|pupil| pupil.read(first, &lists));
        first += places.len() as u32;
    }
    Ok(finish(pupils, residencies))
}

fn finish(pupils: Vec<Pupil>, residencies: &[Residency]) -> Vec<Notes> {
    let empty = |&residency: &Residency| Notes { residency, queries: Vec::new() };
    let mut notes: Vec<Notes> = residencies.iter().map(empty).collect();
    for pupil in pupils {
        for (notes, keeper) in notes.iter_mut().zip(pupil.kept) {
            notes.queries.push(keeper.finish(&pupil.truth));
        }
    }
    notes
}

/// As many of the places as are looked at together: at least one.
fn batch(places: &[Place]) -> &[Place] {
    let start = places[0].offset;
    let fit = places.partition_point(|place| place.range().end() - start <= BATCH_BYTES);
    &places[..fit.max(1)]
}

/// Decodes the lists from `first` on, whose extents are `bytes`.
fn decode<'a>(
    postings: &ExtentFile,
    places: &[Place],
    first: u32,
    bytes: &'a [u8],
    layout: ListLayout,
) -> Result<Vec<Posting<'a>>> {
    let start = places[0].offset;
    let decode = |(list, place): (u32, &Place)| {
        let bytes = &bytes[(place.offset - start) as usize..][..place.bytes as usize];
        let (key, path) = (postings.key(place.offset), postings.file().path());
        let posting = Posting::decode(bytes, key, path, list, layout)?;
        place.check(place.range(), &posting, path)?;
        Ok(posting)
    };
    (first..).zip(places).map(decode).collect()
}

/// How a query reads entries.
enum Reader {
    Coded(Box<CodedQuery>),
    Raw(Scorer),
}

impl Reader {
    fn new(build: &Build<'_>, queries: &Queries, layout: ListLayout, i: usize) -> Self {
        match layout.code() {
            Some(shape) => {
                let mut query = Box::new(CodedQuery::default());
                query.set(shape, queries.point(i));
                Self::Coded(query)
            }
            None => {
                let row_bytes = layout.shape.row_bytes();
                let row = &queries.raw[i * row_bytes..][..row_bytes];
                Self::Raw(Scorer::new(build.options.metric, layout.shape, row))
            }
        }
    }
}

/// A list that a query probes, its rank, and the query's squared distance to its centroid.
#[derive(Clone, Copy)]
struct Probed {
    list: u32,
    rank: u32,
    node_rank: u32,
    squared: f32,
}

/// One query, while lists are read.
struct Pupil {
    query: Reader,
    /// By list.
    probes: Vec<Probed>,
    /// Which neighbour each of the true ones is, by row.
    truth: HashMap<u32, u32>,
    kept: Vec<Keeper>,
    copy: Vec<u32>,
}

impl Pupil {
    fn new(
        query: Reader,
        queries: &Queries,
        i: usize,
        truth: &[Candidate],
        sight: &Sight,
        residencies: &[Residency],
    ) -> Self {
        let ranked = sight.lists.iter().zip(&sight.node_ranks).zip(0..);
        let mut probes: Vec<Probed> = ranked
            .map(|((near, &node_rank), rank)| Probed {
                list: near.at,
                rank,
                node_rank,
                squared: near.distance,
            })
            .collect();
        probes.sort_unstable_by_key(|probed| probed.list);
        let truth = truth.iter().zip(0..).map(|(near, neighbour)| (near.row.0, neighbour)).collect();
        // A row that stands in for a query is not its own neighbour.
        let own = queries.rows.as_ref().map(|rows| rows[i]);
        let kept = residencies.iter().map(|&residency| Keeper::new(residency, own)).collect();
        Self { query, probes, truth, kept, copy: Vec::new() }
    }

    /// Notes what lists from `first` on hold.
    fn read(&mut self, first: u32, lists: &[Posting<'_>]) {
        let end = first + lists.len() as u32;
        let from = self.probes.partition_point(|probed| probed.list < first);
        let to = self.probes.partition_point(|probed| probed.list < end);
        for at in from..to {
            let probed = self.probes[at];
            let posting = &lists[(probed.list - first) as usize];
            match (posting.body, &self.query) {
                (Body::Coded(codes), Reader::Coded(query)) => {
                    read_codes(query, probed, posting, &codes, &mut self.kept);
                }
                (Body::Raw { vectors, .. }, Reader::Raw(scorer)) => {
                    let vectors = aligned(vectors, &mut self.copy);
                    let mut distances = vec![0.0; posting.entries];
                    scorer.distances(vectors, &mut distances);
                    for (entry, &distance) in distances.iter().enumerate() {
                        let note = note(distance, 0.0, distance, probed, posting.row(entry));
                        self.kept.iter_mut().for_each(|keeper| keeper.offer(note));
                    }
                }
                _ => {}
            }
        }
    }
}

fn read_codes(
    query: &CodedQuery,
    probed: Probed,
    posting: &Posting<'_>,
    codes: &CodedList<'_>,
    kept: &mut [Keeper],
) {
    let mut signs = SignEstimates::default();
    let full_error = codes.bounds.full_error(probed.squared);
    for first in (0..posting.entries).step_by(BLOCK) {
        query.sign_block(codes, first / BLOCK, probed.squared, &mut signs);
        for i in 0..BLOCK.min(posting.entries - first) {
            let (entry, lower) = (first + i, signs.lower[i]);
            let primary = entry < posting.primaries;
            let wanted =
                |keeper: &Keeper| (primary || keeper.residency == Residency::Lists) && lower <= keeper.limit;
            if !kept.iter().any(wanted) {
                continue;
            }
            let full = query.full(codes, entry, probed.squared);
            let row = codes.row(entry);
            for keeper in kept.iter_mut().filter(|keeper| wanted(keeper)) {
                keeper.offer(match keeper.residency {
                    Residency::Signs => {
                        note(signs.estimate[i], signs.estimate[i] - lower, lower, probed, row)
                    }
                    _ => note(full, full_error, lower, probed, row),
                });
            }
        }
    }
}

fn note(distance: f32, error: f32, lower: f32, probed: Probed, row: u32) -> Note {
    let Probed { rank, node_rank, .. } = probed;
    Note { distance, error, lower, rank, node_rank, row, neighbour: NO_NEIGHBOUR }
}

/// Keeps the nearest candidates of a query, by cutting a longer vector now and then.
struct Keeper {
    residency: Residency,
    own: Option<u32>,
    notes: Vec<Note>,
    limit: f32,
}

/// Notes kept on the way: a vector and its copies have one each.
pub(super) const ROOM: usize = 2 * KEPT;
/// Bytes of one of them.
pub(crate) const NOTE_BYTES: usize = size_of::<Note>();
/// Bytes of a list that a query probes.
pub(crate) const PROBED_BYTES: usize = size_of::<Probed>();

impl Keeper {
    fn new(residency: Residency, own: Option<u32>) -> Self {
        Self { residency, own, notes: Vec::new(), limit: f32::INFINITY }
    }

    fn offer(&mut self, note: Note) {
        if note.distance > self.limit || self.own == Some(note.row) {
            return;
        }
        self.notes.push(note);
        if self.notes.len() == 2 * ROOM {
            self.notes.select_nth_unstable_by(ROOM - 1, order);
            self.notes.truncate(ROOM);
            self.limit = self.notes[ROOM - 1].distance;
        }
    }

    /// The nearest candidates, in order, copies among them.
    fn finish(mut self, truth: &HashMap<u32, u32>) -> Vec<Note> {
        self.notes.sort_unstable_by(order);
        self.notes.truncate(ROOM);
        let mut numbers = HashMap::new();
        for note in &mut self.notes {
            note.neighbour = truth.get(&note.row).copied().unwrap_or(NO_NEIGHBOUR);
            let next = numbers.len() as u32;
            note.row = *numbers.entry(note.row).or_insert(next);
        }
        self.notes
    }
}

fn order(a: &Note, b: &Note) -> std::cmp::Ordering {
    a.distance.total_cmp(&b.distance).then(a.row.cmp(&b.row)).then(a.rank.cmp(&b.rank))
}
