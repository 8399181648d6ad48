//! The nearest points to a vector.

use std::collections::BTreeMap;
use std::time::Instant;

use nearline_index::{RowId, Scorer};

use super::nearest::{Found, Search};
use super::plan::Strategy;
use super::select::FilterReport;
use super::{Collection, Reader};
use crate::error::QueryError;
use crate::filter::Filter;
use crate::point::Vector;
use crate::point_id::PointId;
use crate::schema::VectorConfig;
use crate::value::Payload;

/// Points a question may ask for.
pub const K_MAX: usize = 1 << 20;
/// The recall wanted, if nothing else is said.
const TARGET_RECALL: f32 = 0.95;

/// A question for the nearest points.
///
/// ```
/// use nearline::{Condition, Filter, Query};
///
/// let query = Query::nearest([0.1, 0.2, 0.3])
///     .k(5)
///     .filter(Filter::must([Condition::range("price").lt(20)]))
///     .with_payload(true);
/// # let _ = query;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Query {
    vector: Vector,
    using: String,
    k: usize,
    target_recall: f32,
    filter: Option<Filter>,
    with_payload: bool,
    with_vectors: bool,
}

impl Query {
    /// The ten nearest to a vector.
    pub fn nearest(vector: impl Into<Vector>) -> Self {
        let (using, filter) = (String::new(), None);
        Self {
            vector: vector.into(),
            using,
            k: 10,
            target_recall: TARGET_RECALL,
            filter,
            with_payload: false,
            with_vectors: false,
        }
    }

    /// By vectors of this name; the empty one unless told otherwise.
    pub fn using(mut self, name: impl Into<String>) -> Self {
        self.using = name.into();
        self
    }

    /// So many points.
    pub fn k(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// The part of the nearest that shall be found, on average; 0.95 unless told otherwise. It matters only where there is a
    /// vector index; 1 compares all vectors.
    pub fn target_recall(mut self, target: f32) -> Self {
        self.target_recall = target;
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
}

/// A point that was found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ScoredPoint {
    /// Its id.
    pub id: PointId,
    /// Its distance by the metric of the vectors; smaller is nearer.
    pub distance: f32,
    /// Its payload, if it was asked for.
    pub payload: Option<Payload>,
    /// Its vectors, if they were asked for.
    pub vectors: Option<BTreeMap<String, Vector>>,
}

/// What an answer cost.
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
    /// Microseconds for the filter.
    pub filter_us: f64,
    /// Microseconds for comparing.
    pub scan_us: f64,
    /// Microseconds in all.
    pub total_us: f64,
}

/// The nearest points, nearest first (ties by age, the oldest first), and what they cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryAnswer {
    /// The points: as many as were asked for, if so many have such a vector and match.
    pub hits: Vec<ScoredPoint>,
    /// The cost.
    pub report: QueryReport,
}

impl Collection {
    /// Finds the nearest points.
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

impl Reader<'_> {
    pub(super) fn answer_all(&self, queries: &[Query]) -> Result<Vec<QueryAnswer>, QueryError> {
        queries.iter().map(|query| self.answer(query)).collect()
    }

    pub(super) fn answer(&self, query: &Query) -> Result<QueryAnswer, QueryError> {
        let started = Instant::now();
        if query.k == 0 || query.k > K_MAX {
            let (found, expected) = (query.k.to_string(), format!("1 to {K_MAX}"));
            return Err(QueryError::Bad { what: "k", found, expected });
        }
        if !(query.target_recall > 0.0 && query.target_recall <= 1.0) {
            let (found, expected) = (query.target_recall.to_string(), "above 0 and at most 1".to_owned());
            return Err(QueryError::Bad { what: "target recall", found, expected });
        }
        let Some((at, config)) = self.schema.find(&query.using) else {
            let (found, expected) = (format!("{:?}", query.using), self.schema.names());
            return Err(QueryError::Bad { what: "name of the vectors", found, expected });
        };
        let bytes = query_bytes(config, &query.vector)?;
        let scorer = Scorer::new(config.metric, config.shape(), &bytes);
        let search = Search {
            reader: *self,
            at,
            scorer: &scorer,
            k: query.k,
            query: &bytes,
            target_recall: query.target_recall,
        };
        let filter = query.filter.as_ref().map(|filter| self.check(filter)).transpose()?;
        let Found { rows, choice, matching, filter, filter_us, picked } = search.run(filter.as_ref())?;
        let scan_us = micros(started) - filter_us;
        let report = QueryReport {
            strategy: choice.strategy,
            why: choice.why,
            filter,
            lsn: self.state.lsn,
            matching,
            lists: picked.lists,
            compared: picked.compared,
            pages: picked.pages,
            filter_us,
            scan_us,
            total_us: 0.0,
        };
        let hits = self.hits(&rows, query)?;
        Ok(QueryAnswer { hits, report: QueryReport { total_us: micros(started), ..report } })
    }

    /// Names the rows found, with what was asked for.
    fn hits(&self, found: &[(RowId, f32)], query: &Query) -> Result<Vec<ScoredPoint>, QueryError> {
        let rows: Vec<RowId> = found.iter().map(|(row, _)| *row).collect();
        let documents = self.documents(&rows)?;
        let mut hits = Vec::with_capacity(found.len());
        for (&(row, distance), (id, payload)) in found.iter().zip(documents) {
            let vectors = if query.with_vectors { Some(self.vectors(row)?) } else { None };
            hits.push(ScoredPoint { id, distance, payload: query.with_payload.then_some(payload), vectors });
        }
        Ok(hits)
    }
}

fn query_bytes(config: &VectorConfig, vector: &Vector) -> Result<Box<[u8]>, QueryError> {
    // A query of inner products or distances may be zero; one of angles has none.
    config.encode(vector).map_err(|(found, expected)| QueryError::Bad { what: "query", found, expected })
}

pub(super) fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
