//! What a setting would find for the calibration queries, and what it would cost, worked out from the notes.

use std::collections::BinaryHeap;

use super::collect::{NO_NEIGHBOUR, Note, Notes, ROOM};
use super::sight::Sights;
use crate::calibration::Residency;
use crate::search::stop::Caps;
use crate::search::{ROWS_AHEAD, STOP_STEP, ahead, ahead_at_first};
use crate::topk::Candidate;
use crate::vector::RowId;

/// A way to search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub(super) k: usize,
    pub(super) nprobe: u32,
    pub(super) breadth: u32,
    /// Above 1: never.
    pub(super) stop: f32,
    /// Lists in flight ahead of the one that is scored.
    pub(super) ahead: usize,
    pub(super) depth: usize,
    pub(super) rerank: f32,
}

/// What came of it, means over the queries.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    pub(super) recall: f64,
    /// A bound below the recall, so that chance in the choice of the queries is on the user's side.
    pub(super) bound: f64,
    pub(super) lists: f64,
    pub(super) reranked: f64,
}

/// Lists in flight ahead at first under a residency, when so many are probed.
pub(super) fn ahead_of(residency: Residency, lists: f64) -> usize {
    if residency == Residency::Lists { ahead_at_first(lists as f32) } else { STOP_STEP }
}

/// One residency's notes with what else decides how queries go.
pub(super) struct Simulation<'a> {
    pub(super) sights: &'a Sights,
    pub(super) notes: &'a Notes,
    pub(super) truth: &'a [Vec<Candidate>],
    pub(super) caps: Caps,
    /// For each query: how far the k-th candidate is after 0, [`STOP_STEP`], 2 [`STOP_STEP`] … lists.
    radii: Vec<Vec<f32>>,
}

/// One query after its lists.
struct Query<'a> {
    notes: &'a [Note],
    /// Whether the rows of candidates are known without reading them.
    named: bool,
    /// The distance of the k-th neighbour.
    kth: f32,
}

/// What a query goes through again and again.
#[derive(Default)]
struct Scratch {
    pool: Vec<Note>,
    bounds: Vec<f32>,
    /// For each row of a query, the last run in which it was met, and its place in the pool.
    met: Vec<(u32, u32)>,
    run: u32,
}

impl Scratch {
    /// Forgets which rows were met.
    fn start(&mut self) {
        self.met.resize(ROOM, (0, 0));
        self.run += 1;
        self.pool.clear();
    }
}

impl<'a> Simulation<'a> {
    /// A simulation of questions for the `k` nearest, with balls of so many dimensions.
    pub(super) fn new(
        sights: &'a Sights,
        notes: &'a Notes,
        truth: &'a [Vec<Candidate>],
        k: usize,
        dimension: f32,
    ) -> Self {
        let queries = notes.queries.iter().zip(&sights.queries);
        let radii = queries.map(|(notes, sight)| radii(notes, sight.lists.len(), k)).collect();
        Self { sights, notes, truth, caps: Caps::new(dimension), radii }
    }

    /// Runs all queries.
    pub(super) fn run(&self, trial: &Trial) -> Outcome {
        let n = self.notes.queries.len().max(1) as f64;
        let (mut sum, mut squares, mut outcome) = (0.0, 0.0, Outcome::default());
        let mut scratch = Scratch::default();
        for (at, notes) in self.notes.queries.iter().enumerate() {
            let truth = &self.truth[at];
            let lists = self.look(at, trial);
            let named = self.notes.residency != Residency::Signs;
            let kth = truth.get(trial.k - 1).map_or(f32::INFINITY, |nearest| nearest.distance);
            let query = Query { notes, named, kth };
            let (recall, reranked) = answer(&query, trial, lists, &mut scratch);
            sum += recall;
            squares += recall * recall;
            outcome.lists += f64::from(lists) / n;
            outcome.reranked += reranked / n;
        }
        outcome.recall = sum / n;
        let error = ((squares / n - outcome.recall * outcome.recall).max(0.0) / n).sqrt();
        outcome.bound = outcome.recall - (1.0 + 10.0 / n.sqrt()) * error;
        outcome
    }

    /// The number of lists a query probes.
    fn look(&self, query: usize, trial: &Trial) -> u32 {
        let (sight, radii) = (&self.sights.queries[query], &self.radii[query]);
        let nprobe = sight.lists.len().min(trial.nprobe as usize);
        if trial.stop > 1.0 {
            return nprobe as u32;
        }
        // The estimate grows with the lists: the first step that is enough is found by halving.
        let (mut low, mut high) = (1, nprobe / STOP_STEP + 1);
        while low < high {
            let step = low + (high - low) / 2;
            let radius = radii[step.min(radii.len() - 1)];
            if sight.planes.recall(&self.caps, step * STOP_STEP, nprobe, radius) >= trial.stop {
                high = step;
            } else {
                low = step + 1;
            }
        }
        let scored = low * STOP_STEP;
        let waits = self.notes.residency == Residency::Lists;
        let ahead = if waits { ahead(trial.ahead, scored) } else { trial.ahead };
        (scored - 1 + ahead).min(nprobe) as u32
    }
}

/// How far the k-th candidate is after each step of lists.
fn radii(notes: &[Note], lists: usize, k: usize) -> Vec<f32> {
    let mut order: Vec<(u32, f32, u32)> =
        notes.iter().map(|note| (note.rank, note.distance, note.row)).collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut met, mut next) = (vec![false; ROOM], 0);
    let mut nearest: BinaryHeap<Candidate> = BinaryHeap::new();
    (0..=lists / STOP_STEP)
        .map(|step| {
            let seen = step * STOP_STEP;
            while let Some(&(_, distance, row)) = order.get(next).filter(|note| (note.0 as usize) < seen) {
                next += 1;
                if !std::mem::replace(&mut met[row as usize], true) {
                    nearest.push(Candidate { distance, row: RowId(row) });
                }
                if nearest.len() > k {
                    nearest.pop();
                }
            }
            match nearest.peek().filter(|_| nearest.len() == k) {
                Some(last) => last.distance.max(0.0).sqrt(),
                None => f32::INFINITY,
            }
        })
        .collect()
}

/// The recall of a query after so many lists, and the rows it reads.
fn answer(query: &Query<'_>, trial: &Trial, lists: u32, scratch: &mut Scratch) -> (f64, f64) {
    scratch.start();
    let Scratch { pool, bounds, met, run } = scratch;
    for note in query.notes {
        if pool.len() == trial.depth {
            break;
        }
        // The router passes over lists of nodes it does not look into; so few that the ranks of others stay.
        let seen = note.rank < lists && note.node_rank < trial.breadth;
        let (last_run, at) = met[note.row as usize];
        if seen && last_run != *run {
            met[note.row as usize] = (*run, pool.len() as u32);
            pool.push(*note);
        } else if seen && note.error < pool[at as usize].error {
            // Of several estimates the one that is known best counts.
            pool[at as usize] = *note;
        }
    }
    // What the signs rule out is not looked at any closer; the limit only falls while lists are scored.
    let farthest = pool.iter().map(|note| note.distance).fold(f32::NEG_INFINITY, f32::max);
    let limit = if pool.len() < trial.depth { f32::INFINITY } else { farthest };
    pool.retain(|note| note.lower <= limit);
    // Notes came by distance, but for those that took another's place.
    if trial.rerank == 0.0 {
        pool.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    }
    let k = trial.k;
    let wanted = |note: &&Note| note.neighbour != NO_NEIGHBOUR && (note.neighbour as usize) < k;
    if trial.rerank == 0.0 {
        let found = pool.iter().take(k).filter(wanted).count();
        return (found as f64 / k as f64, 0.0);
    }
    let lower = |note: &Note| note.distance - note.error * trial.rerank;
    let upper = |note: &Note| note.distance + note.error * trial.rerank;
    let enough = nth(pool, k, upper, bounds);
    let next = nth(pool, k + 1, lower, bounds);
    let is_undecided = |note: &Note| lower(note) <= enough && (!query.named || upper(note) >= next);
    // Rows are compared by lower bound, and little farther than to the k-th neighbour.
    bounds.clear();
    bounds.extend(pool.iter().filter(|note| is_undecided(note)).map(lower));
    let near = bounds.iter().filter(|&&bound| bound <= query.kth).count();
    let reranked = bounds.len().min(near + ROWS_AHEAD);
    let last = match reranked {
        0 => f32::NEG_INFINITY,
        n => *bounds.select_nth_unstable_by(n - 1, f32::total_cmp).1,
    };
    let is_met = |note: &&Note| lower(note) <= if is_undecided(note) { last } else { enough };
    let found = pool.iter().filter(is_met).filter(wanted).count();
    (found.min(k) as f64 / k as f64, reranked as f64)
}

/// The `n`-th smallest of the candidates' bounds, or infinity.
fn nth(pool: &[Note], n: usize, of: impl Fn(&Note) -> f32, bounds: &mut Vec<f32>) -> f32 {
    if pool.len() < n {
        return f32::INFINITY;
    }
    bounds.clear();
    bounds.extend(pool.iter().map(of));
    *bounds.select_nth_unstable_by(n - 1, f32::total_cmp).1
}
