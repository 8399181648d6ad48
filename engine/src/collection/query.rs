//! Questions: what is asked of the points of a collection, and what is answered.

mod answer;
mod example;
mod fuse;
mod judge;
mod mmr;
mod rescore;
mod sample;

use std::collections::BTreeMap;
use std::time::Instant;

use super::plan::Strategy;
use super::select::FilterReport;
use super::{Collection, OrderBy};
use crate::error::QueryError;
use crate::filter::Filter;
use crate::formula::Formula;
use crate::point::Vector;
use crate::point_id::PointId;
use crate::value::{Payload, Value};

pub(super) use answer::{Ranked, Spent, score_of};
pub use example::{EXAMPLES_MAX, Example, Feedback, Recommend, RecommendStrategy};
pub use fuse::Fusion;
pub use mmr::{MMR_CANDIDATES_MAX, Mmr};
pub(super) use sample::Chance;

/// Points a question may ask for.
pub const K_MAX: usize = 1 << 20;
/// How deep prefetches may be nested.
pub const PREFETCH_DEPTH_MAX: usize = 5;
/// Prefetches of a question at most, those of prefetches included.
pub const PREFETCHES_MAX: usize = 64;
/// The recall wanted, if nothing else is said.
const TARGET_RECALL: f32 = 0.95;

/// A question: which points, in which order, and what of them.
///
/// ```
/// use nearline::{Condition, Filter, Fusion, Query};
///
/// let query = Query::nearest([0.1, 0.2, 0.3])
///     .k(5)
///     .filter(Filter::must([Condition::range("price").lt(20)]))
///     .with_payload(true);
///
/// // What two questions find, put together by the places where they find it.
/// let both = Query::fuse(Fusion::rrf())
///     .prefetch(Query::nearest([0.1, 0.2, 0.3]).using("title").k(50))
///     .prefetch(Query::nearest([0.4, 0.5]).using("image").k(50));
/// # let _ = (query, both);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Query {
    kind: Kind,
    mmr: Option<Mmr>,
    prefetches: Vec<Query>,
    using: String,
    lookup: Option<String>,
    k: usize,
    offset: usize,
    score_threshold: Option<f32>,
    target_recall: f32,
    nprobe: Option<usize>,
    max_bytes_read: Option<u64>,
    max_us: Option<u64>,
    filter: Option<Filter>,
    with_payload: bool,
    with_vectors: bool,
}

/// By what points are ranked.
#[derive(Clone, Debug)]
enum Kind {
    Nearest(Example),
    Recommend(Recommend),
    Discover(Example, Vec<(Example, Example)>),
    Context(Vec<(Example, Example)>),
    Feedback(Feedback),
    Fuse(Fusion),
    Formula(Formula),
    OrderBy(OrderBy),
    Sample(Option<u64>),
    All,
}

impl Query {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            mmr: None,
            prefetches: Vec::new(),
            using: String::new(),
            lookup: None,
            k: 10,
            offset: 0,
            score_threshold: None,
            target_recall: TARGET_RECALL,
            nprobe: None,
            max_bytes_read: None,
            max_us: None,
            filter: None,
            with_payload: false,
            with_vectors: false,
        }
    }

    /// The ten nearest to a vector, or to that of a point, which is not answered itself.
    pub fn nearest(example: impl Into<Example>) -> Self {
        Self::new(Kind::Nearest(example.into()))
    }

    /// Points like some examples and unlike others.
    ///
    /// ```
    /// use nearline::{PointId, Query, Recommend, RecommendStrategy};
    ///
    /// let liked = Recommend::like([PointId::from(7), PointId::from(9)]).unlike([[0.2, 0.4]]);
    /// let query = Query::recommend(liked.strategy(RecommendStrategy::BestScore));
    /// # let _ = query;
    /// ```
    pub fn recommend(recommend: Recommend) -> Self {
        Self::new(Kind::Recommend(recommend))
    }

    /// Points near to a target, those first that are, in as many pairs of the context as can be, nearer to the first example
    /// than to the second. The whole part of the score counts pairs (one less for each that is the other way round); the rest
    /// is above 0 and below 1 and larger where the target is nearer.
    ///
    /// ```
    /// use nearline::{PointId, Query};
    ///
    /// let query = Query::discover([0.5, 0.5], [(PointId::from(1), PointId::from(2))]);
    /// # let _ = query;
    /// ```
    pub fn discover<P: Into<Example>, N: Into<Example>>(
        target: impl Into<Example>,
        context: impl IntoIterator<Item = (P, N)>,
    ) -> Self {
        Self::new(Kind::Discover(target.into(), pairs(context)))
    }

    /// Points that are, in every pair, nearer to the first example than to the second: their score is 0. For each pair where it
    /// is the other way round the score is less, by up to 1.
    pub fn context<P: Into<Example>, N: Into<Example>>(context: impl IntoIterator<Item = (P, N)>) -> Self {
        Self::new(Kind::Context(pairs(context)))
    }

    /// The question asked again, with what somebody says of some of its answers.
    ///
    /// ```
    /// use nearline::{Feedback, PointId, Query};
    ///
    /// let said = [(PointId::from(7), 0.9), (PointId::from(9), 0.2)];
    /// let query = Query::feedback(Feedback::new([0.1, 0.2], said).coefficients(1.0, 1.0, 0.5));
    /// # let _ = query;
    /// ```
    pub fn feedback(feedback: Feedback) -> Self {
        Self::new(Kind::Feedback(feedback))
    }

    /// The points of several prefetches as one list.
    pub fn fuse(fusion: Fusion) -> Self {
        Self::new(Kind::Fuse(fusion))
    }

    /// The points of prefetches, ranked anew by a formula.
    pub fn formula(formula: impl Into<Formula>) -> Self {
        Self::new(Kind::Formula(formula.into()))
    }

    /// Points in the order of a field's values. All scores are 1.
    pub fn order_by(order: OrderBy) -> Self {
        Self::new(Kind::OrderBy(order))
    }

    /// Points by chance, every one as likely as any other. All scores are 1.
    pub fn sample() -> Self {
        Self::new(Kind::Sample(None))
    }

    /// As [`Query::sample`]: the same points for the same seed, as long as nothing is written.
    pub fn sample_by(seed: u64) -> Self {
        Self::new(Kind::Sample(Some(seed)))
    }

    /// Points in order of their ids. All scores are 1.
    pub fn all() -> Self {
        Self::new(Kind::All)
    }

    /// Only points that this question finds; of several prefetches, those that any of them finds. A question that fuses or has
    /// a formula needs them; any other ranks their points anew, and is exact about them.
    ///
    /// A prefetch finds [`k`](Self::k) points that match its own filter and those of the questions around it. What it wants of
    /// points is not looked at.
    pub fn prefetch(mut self, query: Self) -> Self {
        self.prefetches.push(query);
        self
    }

    /// Takes of the nearest points those that differ from each other. Only of [`Query::nearest`].
    pub fn mmr(mut self, mmr: Mmr) -> Self {
        self.mmr = Some(mmr);
        self
    }

    /// By vectors of this name; the empty one unless told otherwise.
    pub fn using(mut self, name: impl Into<String>) -> Self {
        self.using = name.into();
        self
    }

    /// Of points that are examples, the vectors of this name are taken; those of [`using`](Self::using) unless told otherwise.
    pub fn lookup(mut self, name: impl Into<String>) -> Self {
        self.lookup = Some(name.into());
        self
    }

    /// So many points.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Leaves out the first so many points.
    pub fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// Only points whose score is at least this good: not less, or, of distances, not more.
    pub fn score_threshold(mut self, threshold: f32) -> Self {
        self.score_threshold = Some(threshold);
        self
    }

    /// The part of the nearest that shall be found, on average; 0.95 unless told otherwise. It matters only where there is a
    /// vector index; 1 compares all vectors.
    pub fn target_recall(mut self, target: f32) -> Self {
        self.target_recall = target;
        self
    }

    /// Looks at so many posting lists of a vector index, instead of as many as the recall wanted needs. Where it costs less to
    /// compare all vectors, that is done.
    pub fn nprobe(mut self, lists: usize) -> Self {
        self.nprobe = Some(lists);
        self
    }

    /// Bytes that a vector index may read for this question; beyond, the answer is cut short and says so
    /// ([`QueryReport::cut`]). What the cache has is not read; vectors that the index lacks are compared anyway.
    pub fn max_bytes_read(mut self, bytes: u64) -> Self {
        self.max_bytes_read = Some(bytes);
        self
    }

    /// Microseconds after which a vector index begins no more reads for this question; as
    /// [`max_bytes_read`](Self::max_bytes_read).
    pub fn max_us(mut self, microseconds: u64) -> Self {
        self.max_us = Some(microseconds);
        self
    }

    /// Only points that match.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Whether payloads are wanted.
    pub fn with_payload(mut self, wanted: bool) -> Self {
        self.with_payload = wanted;
        self
    }

    /// Whether vectors are wanted.
    pub fn with_vectors(mut self, wanted: bool) -> Self {
        self.with_vectors = wanted;
        self
    }

    pub(super) fn has_prefetches(&self) -> bool {
        !self.prefetches.is_empty()
    }

    /// Every prefetch with so many times more points.
    pub(super) fn with_prefetches_times(mut self, times: usize) -> Self {
        let prefetches = std::mem::take(&mut self.prefetches).into_iter();
        let more = |inner: Self| {
            let k = inner.k.saturating_mul(times).min(K_MAX);
            inner.k(k).with_prefetches_times(times)
        };
        self.prefetches = prefetches.map(more).collect();
        self
    }

    /// Only points for which these conditions hold, too, all of `must` and none of `must_not`.
    pub(super) fn and_filter(mut self, filter: Filter) -> Self {
        // Beside the others, so that it is no deeper.
        let own = self.filter.take().unwrap_or_default();
        self.filter = Some(own.and_must(filter.must).and_must_not(filter.must_not));
        self
    }

    /// Points that are looked for, those that are left out afterwards included.
    fn wanted(&self) -> usize {
        self.k.saturating_add(self.offset)
    }
}

fn pairs<P: Into<Example>, N: Into<Example>>(
    pairs: impl IntoIterator<Item = (P, N)>,
) -> Vec<(Example, Example)> {
    pairs.into_iter().map(|(positive, negative)| (positive.into(), negative.into())).collect()
}

/// A point that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoredPoint {
    /// Its id.
    pub id: PointId,
    /// Its distance by the metric of the vectors; smaller is nearer. Where points are not ranked by the distance to one vector,
    /// the score with its sign turned.
    pub distance: f32,
    /// How well it fits. To one vector: by the metric, the similarity (inner product, cosine), where larger is better, or the
    /// distance (L2, with its root taken; Manhattan), where smaller is. Otherwise larger is better.
    pub score: f32,
    /// Of points in the order of a field: the value that put it there.
    pub order_value: Option<Value>,
    /// Its payload, if it was asked for.
    pub payload: Option<Payload>,
    /// Its vectors, if they were asked for.
    pub vectors: Option<BTreeMap<String, Vector>>,
}

/// What an answer cost. Of a question with prefetches, all of them together.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryReport {
    /// How it was found.
    pub strategy: Strategy,
    /// Why so, in words.
    pub why: String,
    /// What the filter took, if there was one.
    pub filter: FilterReport,
    /// The write up to which points were seen; 0 of a [`Version`](crate::Version), which has no log.
    pub lsn: u64,
    /// Points that match the filter, if there was one and they were all found out.
    pub matching: Option<u64>,
    /// Posting lists looked at.
    pub lists: u64,
    /// Vectors compared, entries of posting lists among them.
    pub compared: u64,
    /// Pages (4096 bytes) of vectors and posting lists read.
    pub pages: u64,
    /// Reads of the disk that took.
    pub reads: u64,
    /// Whether [`Query::max_bytes_read`] or [`Query::max_us`] cut the search short.
    pub cut: bool,
    /// Microseconds for the filter.
    pub filter_us: f64,
    /// Microseconds for comparing.
    pub scan_us: f64,
    /// Microseconds in all.
    pub total_us: f64,
}

/// The points found, best first (of equal ones the oldest first), and what they cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryAnswer {
    /// The points: as many as were asked for, if so many have such a vector and match.
    pub hits: Vec<ScoredPoint>,
    /// The cost.
    pub report: QueryReport,
}

impl Collection {
    /// Answers a question.
    ///
    /// # Errors
    /// [`QueryError`], saying what of the question is wrong or which file cannot be read.
    pub fn query(&self, query: &Query) -> Result<QueryAnswer, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).answer(query)
    }

    /// Answers several questions about the same moment, in their order.
    ///
    /// # Errors
    /// That of the first question that cannot be answered.
    pub fn query_batch(&self, queries: &[Query]) -> Result<Vec<QueryAnswer>, QueryError> {
        let inner = &self.shared.inner;
        inner.reader(&inner.state()).answer_all(queries)
    }
}

pub(super) fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
