//! Questions about what users did.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearline_index::sdim::{
    BucketTable, ServingTable, SignShape, SparseTable, exact_attention, hamming_top_k,
};

use super::error::BehaviorError;
use super::history::{Embedding, Event, Events};
use super::manifest::Epoch;
use super::store::Inner;
use super::tallied::Tallied;
use super::{Behavior, Candidates, Interests, SimilarBehavior, Span, UserTable};

/// Candidates of one question at most, all users together.
pub const CANDIDATES_MAX: usize = 1 << 20;

/// A space as it is read at a moment: what has expired by then is not there. Made by
/// [`BehaviorSpace::now`](super::BehaviorSpace::now) or [`BehaviorSpace::at`](super::BehaviorSpace::at).
///
/// Users nobody has heard of have no behaviours; that is no error.
#[derive(Clone, Debug)]
pub struct BehaviorReader<'a> {
    pub(super) inner: &'a Inner,
    /// Whose tables answer.
    pub(super) epoch: Arc<Epoch>,
    /// Whether that was asked for: then no other does when it goes.
    pub(super) is_chosen: bool,
    /// Milliseconds, on the clock of the events' times.
    pub(super) now: i64,
}

impl BehaviorReader<'_> {
    /// The same in another epoch: one that serves, or is kept.
    ///
    /// # Errors
    /// [`BehaviorError::UnknownEpoch`] when none of this number answers.
    pub fn epoch(mut self, number: u32) -> Result<Self, BehaviorError> {
        self.epoch = Arc::clone(self.inner.state().epochs.answering(number)?);
        self.is_chosen = true;
        Ok(self)
    }

    /// Asks, and asks again if the epoch went meanwhile, with what it needs: another serves by then. It is not asked about vectors
    /// that are none of its own.
    fn answered<R>(
        &self,
        about: &[Candidates<'_>],
        ask: impl Fn(&Self) -> Result<R, BehaviorError>,
    ) -> Result<R, BehaviorError> {
        let has_vectors = about.iter().any(|candidates| matches!(candidates, Candidates::Vectors(_)));
        let mut reader = self.clone();
        loop {
            let answer = ask(&reader);
            let state = self.inner.state();
            match state.epochs.answering(reader.epoch.number) {
                Ok(_) => return answer,
                Err(gone) if self.is_chosen => return Err(gone),
                Err(gone) if has_vectors && state.epochs.serving().shape().dim() != self.shape().dim() => {
                    return Err(gone);
                }
                Err(_) => reader.epoch = Arc::clone(state.epochs.serving()),
            }
        }
    }

    /// How vectors are hashed in the epoch that answers.
    pub fn shape(&self) -> SignShape {
        self.epoch.shape()
    }

    /// The interest of a user in candidates: `dim` values each, in their order; zeros where nothing collides, and for
    /// users without behaviours.
    ///
    /// # Errors
    /// When a candidate is no item of the space or its vector is not right, there are more than [`CANDIDATES_MAX`], or
    /// files cannot be read.
    pub fn interest(&self, user: u64, candidates: &Candidates<'_>) -> Result<Vec<f32>, BehaviorError> {
        Ok(self.interests(&[(user, *candidates)])?.values)
    }

    /// As [`BehaviorReader::interest`], of several users, each in candidates of its own.
    ///
    /// # Errors
    /// As [`BehaviorReader::interest`].
    pub fn interests(&self, questions: &[(u64, Candidates<'_>)]) -> Result<Interests, BehaviorError> {
        let about: Vec<Candidates<'_>> = questions.iter().map(|(_, candidates)| *candidates).collect();
        self.answered(&about, |reader| reader.interests_once(questions))
    }

    fn interests_once(&self, questions: &[(u64, Candidates<'_>)]) -> Result<Interests, BehaviorError> {
        let (shape, family) = (self.epoch.shape(), &self.epoch.family);
        let dim = shape.dim();
        let mut lengths = Vec::with_capacity(questions.len());
        for (_, candidates) in questions {
            lengths.push(candidates.count(dim)?);
        }
        let total: usize = lengths.iter().sum();
        check_count(total)?;
        let mut values = vec![0.0; total * dim];
        let mut rest = &mut values[..];
        for ((user, candidates), &len) in questions.iter().zip(&lengths) {
            let (out, behind) = std::mem::take(&mut rest).split_at_mut(len * dim);
            rest = behind;
            let signatures = match candidates {
                Candidates::Vectors(vectors) => family.signatures(vectors)?,
                Candidates::Items(items) => {
                    let embeddings = self.inner.embeddings(items, &self.epoch)?;
                    embeddings.iter().flat_map(|embedding| embedding.signature.iter().copied()).collect()
                }
            };
            self.interest_of(*user, &signatures, out)?;
        }
        Ok(Interests { lengths, values })
    }

    /// The tables of users, in their order: sums and numbers, not normalised; as exact as the epoch keeps them.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn tables(&self, users: &[u64]) -> Result<Vec<UserTable>, BehaviorError> {
        self.answered(&[], |reader| reader.tables_once(users))
    }

    fn tables_once(&self, users: &[u64]) -> Result<Vec<UserTable>, BehaviorError> {
        let empty = || BucketTable::new(self.epoch.family.shape());
        let table = |&user: &u64| {
            let tallied = self.tallied(user)?;
            let version = tallied.as_ref().map_or(0, |tallied| tallied.version);
            let table = tallied.map_or_else(empty, |tallied| tallied.table.widened().into_owned());
            Ok(UserTable { user, version, table })
        };
        users.iter().map(table).collect()
    }

    /// Behaviours of a user in order of time, those of equal time in order of the events' numbers.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn behaviors(&self, user: u64, span: Span) -> Result<Vec<Behavior>, BehaviorError> {
        self.answered(&[], |reader| reader.behaviors_once(user, span))
    }

    fn behaviors_once(&self, user: u64, span: Span) -> Result<Vec<Behavior>, BehaviorError> {
        let (history, files) = self.inner.history(user)?;
        let cutoff = self.cutoff();
        if let Span::Last(count) = span {
            let from = history.len().saturating_sub(count as u64);
            let last = self.inner.events_from(user, &history, &files, from)?;
            let visible = last.into_iter().filter(|event| event.time >= cutoff);
            return Ok(visible.map(|event| behavior(user, &event, &self.epoch)).collect());
        }
        let events = self.inner.events(user, &history, &files)?;
        let part = match span {
            Span::Last(_) => 0..events.len(),
            Span::Between { from, to } => events.before(from.max(cutoff))..events.before(to),
        };
        Ok(events.from(part.start).take(part.len()).map(|event| behavior(user, event, &self.epoch)).collect())
    }

    /// For each candidate, the `k` behaviours whose signatures differ from its in the fewest bits, most alike first; of
    /// equals, the newest first.
    ///
    /// # Errors
    /// As [`BehaviorReader::interest`].
    pub fn top_k_hamming(
        &self,
        user: u64,
        candidates: &Candidates<'_>,
        k: usize,
    ) -> Result<Vec<Vec<SimilarBehavior>>, BehaviorError> {
        self.answered(&[*candidates], |reader| reader.top_k_hamming_once(user, candidates, k))
    }

    fn top_k_hamming_once(
        &self,
        user: u64,
        candidates: &Candidates<'_>,
        k: usize,
    ) -> Result<Vec<Vec<SimilarBehavior>>, BehaviorError> {
        let shape = self.epoch.family.shape();
        check_count(candidates.count(shape.dim())?)?;
        let queries = self.embed(candidates)?;
        let events = self.events(user)?;
        let newest_first: Vec<&Event> = events.from(events.before(self.cutoff())).rev().collect();
        let mut signatures = Vec::with_capacity(newest_first.len() * shape.words());
        let mut counted = Vec::with_capacity(newest_first.len());
        self.inner.each_embedding(&newest_first, &self.epoch, |event, embedding| {
            counted.push(event);
            signatures.extend_from_slice(&embedding.signature);
            Ok(())
        })?;
        let most_alike = |query: &Arc<Embedding>| {
            let found = hamming_top_k(&query.signature, &signatures, k)?;
            let similar = found.into_iter().map(|alike| SimilarBehavior {
                behavior: behavior(user, counted[alike.at], &self.epoch),
                distance: alike.distance,
            });
            Ok(similar.collect())
        };
        queries.iter().map(most_alike).collect()
    }

    /// Softmax attention of candidates over all behaviours of a user, without any approximation: `dim` values each. What
    /// interest is compared with; it takes as long as the history is.
    ///
    /// # Errors
    /// As [`BehaviorReader::interest`], and when `scale`, which products are multiplied by, is not finite.
    pub fn exact_attention(
        &self,
        user: u64,
        candidates: &Candidates<'_>,
        scale: f32,
    ) -> Result<Vec<f32>, BehaviorError> {
        self.answered(&[*candidates], |reader| reader.exact_attention_once(user, candidates, scale))
    }

    fn exact_attention_once(
        &self,
        user: u64,
        candidates: &Candidates<'_>,
        scale: f32,
    ) -> Result<Vec<f32>, BehaviorError> {
        let dim = self.epoch.family.shape().dim();
        check_count(candidates.count(dim)?)?;
        let queries = self.embed(candidates)?;
        let queries: Vec<f32> = queries.iter().flat_map(|query| query.vector.iter().copied()).collect();
        let events = self.events(user)?;
        let events: Vec<&Event> = events.from(events.before(self.cutoff())).collect();
        let mut vectors = Vec::with_capacity(events.len() * dim);
        self.inner.each_embedding(&events, &self.epoch, |_, embedding| {
            vectors.extend_from_slice(&embedding.vector);
            Ok(())
        })?;
        Ok(exact_attention(&queries, &vectors, dim, scale)?)
    }

    fn embed(&self, candidates: &Candidates<'_>) -> Result<Vec<Arc<Embedding>>, BehaviorError> {
        match candidates {
            Candidates::Items(items) => self.inner.embeddings(items, &self.epoch),
            Candidates::Vectors(vectors) => Ok(super::record::embed(&self.epoch.family, vectors)?),
        }
    }

    /// The interest of one user, into `out`, which is zero.
    fn interest_of(&self, user: u64, signatures: &[u64], out: &mut [f32]) -> Result<(), BehaviorError> {
        let (shape, normalize) = (self.epoch.family.shape(), self.epoch.normalize);
        let (history, files) = self.inner.history(user)?;
        if !is_sparse(shape, history.len(), signatures.len() / shape.words()) {
            if let Some(tallied) = self.inner.tally(user, &history, &files, (&self.epoch, self.cutoff()))? {
                ServingTable::new(&tallied.table.widened(), normalize).interest(signatures, out)?;
            }
            return Ok(());
        }
        let events = self.inner.events(user, &history, &files)?;
        let events: Vec<&Event> = events.from(events.before(self.cutoff())).collect();
        let (mut vectors, mut own) = (Vec::new(), Vec::new());
        self.inner.each_embedding(&events, &self.epoch, |_, embedding| {
            vectors.extend_from_slice(&embedding.vector);
            own.extend_from_slice(&embedding.signature);
            Ok(())
        })?;
        Ok(SparseTable::new(shape, normalize, vectors, &own)?.interest(signatures, out)?)
    }

    /// All events of a user.
    fn events(&self, user: u64) -> Result<Events, BehaviorError> {
        let (history, files) = self.inner.history(user)?;
        Ok(self.inner.events(user, &history, &files)?)
    }

    /// Events before this time have expired.
    fn cutoff(&self) -> i64 {
        self.epoch.cutoff(self.now)
    }

    /// The table of a user; `None` for nobody.
    fn tallied(&self, user: u64) -> Result<Option<Arc<Tallied>>, BehaviorError> {
        let (history, files) = self.inner.history(user)?;
        self.inner.tally(user, &history, &files, (&self.epoch, self.cutoff()))
    }
}

impl Inner {
    /// Users who have behaviours, from a number on, in order; at most so many.
    pub(super) fn users(&self, from: u64, limit: usize) -> Result<Vec<u64>, BehaviorError> {
        let (in_memory, files) = {
            let state = self.state();
            let going = state.files.moving.iter().flat_map(|moving| moving.histories.keys());
            let in_memory = state.dirty.keys().chain(going).copied();
            let in_memory: BTreeSet<u64> = in_memory.filter(|&user| user >= from).collect();
            (in_memory, Arc::clone(&state.files))
        };
        let (mut users, mut next) = (Vec::new(), Some(from));
        while let Some(from) = next.filter(|_| users.len() < limit) {
            let candidates = [files.user_from(from)?, in_memory.range(from..).next().copied()];
            let Some(user) = candidates.into_iter().flatten().min() else { break };
            if self.history(user)?.0.len() > 0 {
                users.push(user);
            }
            next = user.checked_add(1);
        }
        Ok(users)
    }
}

impl Candidates<'_> {
    fn count(&self, dim: usize) -> Result<usize, BehaviorError> {
        match self {
            Self::Items(items) => Ok(items.len()),
            Self::Vectors(values) if values.len().is_multiple_of(dim) => Ok(values.len() / dim),
            Self::Vectors(values) => {
                let found = format!("{} values", values.len());
                Err(BehaviorError::bad("vectors of candidates", found, format!("whole vectors of {dim}")))
            }
        }
    }
}

/// Whether so many behaviours are best added up for each of so many candidates: a table has more rows than that takes, and than
/// there are behaviours.
fn is_sparse(shape: SignShape, behaviors: u64, candidates: usize) -> bool {
    let rows = (shape.groups() * shape.buckets()) as u64;
    let each = shape.groups() as u64 * (behaviors / shape.buckets() as u64 + 1);
    behaviors < rows && candidates as u64 * each < rows + behaviors * shape.groups() as u64
}

fn check_count(candidates: usize) -> Result<(), BehaviorError> {
    if candidates > CANDIDATES_MAX {
        return Err(BehaviorError::bad("candidates", candidates, format!("at most {CANDIDATES_MAX}")));
    }
    Ok(())
}

fn behavior(user: u64, event: &Event, epoch: &Epoch) -> Behavior {
    let vector = event.own_of(epoch.of).map(|own| own.vector.to_vec());
    Behavior { user, event: event.id, time: event.time, item: event.item, vector }
}
