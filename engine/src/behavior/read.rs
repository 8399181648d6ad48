//! Questions about what users did.

use std::sync::Arc;

use nearline_index::sdim::{BucketTable, ServingTable, exact_attention, hamming_top_k};

use super::error::BehaviorError;
use super::history::{Embedding, Event, History};
use super::store::Inner;
use super::{Behavior, Candidates, Interests, SimilarBehavior, Span, UserTable};

/// Candidates of one question at most, all users together.
pub const CANDIDATES_MAX: usize = 1 << 20;
/// Behaviours whose vectors are looked up at a time.
const CHUNK: usize = 1024;

/// A table worked out from a history, and which part of it.
#[derive(Clone, Debug)]
pub(super) struct Tallied {
    /// The version of the history.
    version: u64,
    /// Events left out at the beginning: they had expired.
    first: usize,
    /// Events up to here are in it.
    end: usize,
    table: BucketTable,
    serving: Arc<ServingTable>,
}

/// A space as it is read at a moment: what has expired by then is not there. Made by
/// [`BehaviorSpace::now`](super::BehaviorSpace::now) or [`BehaviorSpace::at`](super::BehaviorSpace::at).
///
/// Users nobody has heard of have no behaviours; that is no error.
#[derive(Clone, Copy, Debug)]
pub struct BehaviorReader<'a> {
    pub(super) inner: &'a Inner,
    /// Milliseconds, on the clock of the events' times.
    pub(super) now: i64,
}

impl BehaviorReader<'_> {
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
        let (shape, family) = (self.inner.epoch.family.shape(), &self.inner.epoch.family);
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
                    let embeddings = self.inner.embeddings(items)?;
                    embeddings.iter().flat_map(|embedding| embedding.signature.iter().copied()).collect()
                }
            };
            if let Some(tallied) = self.tallied(*user)? {
                tallied.serving.interest(&signatures, out)?;
            }
        }
        Ok(Interests { lengths, values })
    }

    /// The tables of users, in their order: sums in `f64` and numbers, not normalised.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn tables(&self, users: &[u64]) -> Result<Vec<UserTable>, BehaviorError> {
        let empty = || BucketTable::new(self.inner.epoch.family.shape());
        let table = |&user: &u64| {
            let tallied = self.tallied(user)?;
            let version = tallied.as_ref().map_or(0, |tallied| tallied.version);
            let table = tallied.map_or_else(empty, |tallied| tallied.table.clone());
            Ok(UserTable { user, version, table })
        };
        users.iter().map(table).collect()
    }

    /// Behaviours of a user in order of time, those of equal time in order of the events' numbers.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn behaviors(&self, user: u64, span: Span) -> Result<Vec<Behavior>, BehaviorError> {
        let history = self.inner.history(user)?;
        let first = self.first(&history);
        let part = match span {
            Span::Last(count) => first.max(history.len().saturating_sub(count))..history.len(),
            Span::Between { from, to } => first.max(history.before(from))..history.before(to),
        };
        Ok(history.from(part.start).take(part.len()).map(|event| behavior(user, event)).collect())
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
        let shape = self.inner.epoch.family.shape();
        check_count(candidates.count(shape.dim())?)?;
        let queries = self.embed(candidates)?;
        let history = self.inner.history(user)?;
        let newest_first: Vec<&Event> = history.from(self.first(&history)).rev().collect();
        let mut signatures = Vec::with_capacity(newest_first.len() * shape.words());
        self.embeddings(&newest_first, |embedding| {
            signatures.extend_from_slice(&embedding.signature);
            Ok(())
        })?;
        let most_alike = |query: &Arc<Embedding>| {
            let found = hamming_top_k(&query.signature, &signatures, k)?;
            let similar = found.into_iter().map(|alike| SimilarBehavior {
                behavior: behavior(user, newest_first[alike.at]),
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
        let dim = self.inner.epoch.family.shape().dim();
        check_count(candidates.count(dim)?)?;
        let queries = self.embed(candidates)?;
        let queries: Vec<f32> = queries.iter().flat_map(|query| query.vector.iter().copied()).collect();
        let history = self.inner.history(user)?;
        let events: Vec<&Event> = history.from(self.first(&history)).collect();
        let mut vectors = Vec::with_capacity(events.len() * dim);
        self.embeddings(&events, |embedding| {
            vectors.extend_from_slice(&embedding.vector);
            Ok(())
        })?;
        Ok(exact_attention(&queries, &vectors, dim, scale)?)
    }

    fn embed(&self, candidates: &Candidates<'_>) -> Result<Vec<Arc<Embedding>>, BehaviorError> {
        match candidates {
            Candidates::Items(items) => self.inner.embeddings(items),
            Candidates::Vectors(vectors) => Ok(super::record::embed(&self.inner.epoch.family, vectors)?),
        }
    }

    /// How many events of a history have expired.
    fn first(&self, history: &History) -> usize {
        let Some(ttl) = self.inner.epoch.ttl else { return 0 };
        // What happened `ttl` ago is gone.
        let ttl = i64::try_from(ttl).unwrap_or(i64::MAX);
        match self.now.checked_sub(ttl).map(|time| time.checked_add(1)) {
            None => 0,
            Some(None) => history.len(),
            Some(Some(time)) => history.before(time),
        }
    }

    /// The table of a user; `None` for nobody.
    fn tallied(&self, user: u64) -> Result<Option<Arc<Tallied>>, BehaviorError> {
        let history = self.inner.history(user)?;
        let first = self.first(&history);
        if first == history.len() {
            return Ok(None);
        }
        let kept = self.inner.tables.get(user);
        if let Some(kept) = &kept
            && (kept.version, kept.first) == (history.version, first)
        {
            return Ok(Some(Arc::clone(kept)));
        }
        let table = match kept.map(|kept| self.caught_up(&kept, &history, first)).transpose()?.flatten() {
            Some(table) => table,
            None => {
                let mut table = BucketTable::new(self.inner.epoch.family.shape());
                self.add(&mut table, &history, first)?;
                table
            }
        };
        let serving = Arc::new(ServingTable::new(&table, self.inner.epoch.normalize));
        let (version, end) = (history.version, history.len());
        let bytes = table.ram_bytes() + serving.ram_bytes();
        let tallied = Arc::new(Tallied { version, first, end, table, serving });
        self.inner.tables.insert(user, Arc::clone(&tallied), bytes);
        Ok(Some(tallied))
    }

    /// A table made of an older one: what expired since is taken out, what came is added. `None` where that would not give
    /// the bits of a table made anew: if behaviours in between changed, if the clock went back, or if sums were rounded.
    fn caught_up(
        &self,
        kept: &Tallied,
        history: &History,
        first: usize,
    ) -> Result<Option<BucketTable>, BehaviorError> {
        let is_prefix = (history.reshaped..=history.version).contains(&kept.version);
        if !is_prefix || first < kept.first || first > kept.end {
            return Ok(None);
        }
        let mut table = kept.table.clone();
        let expired: Vec<&Event> = history.from(kept.first).take(first - kept.first).collect();
        self.embeddings(&expired, |embedding| Ok(table.remove(&embedding.vector, &embedding.signature)?))?;
        self.add(&mut table, history, kept.end)?;
        let is_same = expired.is_empty() || table.is_exact();
        Ok(is_same.then_some(table))
    }

    /// Adds events from a place on.
    fn add(&self, table: &mut BucketTable, history: &History, first: usize) -> Result<(), BehaviorError> {
        let events: Vec<&Event> = history.from(first).collect();
        self.embeddings(&events, |embedding| Ok(table.add(&embedding.vector, &embedding.signature)?))
    }

    /// Calls with the embedding of each event, in their order; some at a time are looked up together.
    fn embeddings(
        &self,
        events: &[&Event],
        mut each: impl FnMut(&Embedding) -> Result<(), BehaviorError>,
    ) -> Result<(), BehaviorError> {
        for events in events.chunks(CHUNK) {
            let items = events.iter().filter(|event| event.inline.is_none()).map(|event| event.item);
            let mut found = self.inner.embeddings(&items.collect::<Vec<_>>())?.into_iter();
            for event in events {
                if let Some(embedding) = event.inline.clone().or_else(|| found.next()) {
                    each(&embedding)?;
                }
            }
        }
        Ok(())
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

fn check_count(candidates: usize) -> Result<(), BehaviorError> {
    if candidates > CANDIDATES_MAX {
        return Err(BehaviorError::bad("candidates", candidates, format!("at most {CANDIDATES_MAX}")));
    }
    Ok(())
}

fn behavior(user: u64, event: &Event) -> Behavior {
    let vector = event.inline.as_ref().map(|inline| inline.vector.to_vec());
    Behavior { user, event: event.id, time: event.time, item: event.item, vector }
}
