//! The nearest points to a vector.

use std::collections::BTreeMap;
use std::time::Instant;

use nearline_index::{Metric, Nearest, RowId, Scorer};
use roaring::RoaringBitmap;

use super::{Collection, Inner};
use crate::error::QueryError;
use crate::filter::Filter;
use crate::point::Vector;
use crate::point_id::PointId;
use crate::schema::VectorConfig;
use crate::state::State;
use crate::value::Payload;

/// Points a question may ask for.
pub const K_MAX: usize = 1 << 20;

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
    filter: Option<Filter>,
    with_payload: bool,
    with_vectors: bool,
}

impl Query {
    /// The ten nearest to a vector.
    pub fn nearest(vector: impl Into<Vector>) -> Self {
        let (using, filter) = (String::new(), None);
        Self { vector: vector.into(), using, k: 10, filter, with_payload: false, with_vectors: false }
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

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// All vectors were compared.
    Exact,
    /// The payloads of all points were asked, then the vectors of those that match were compared.
    FilterThenExact,
}

/// What an answer cost.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryReport {
    /// How it was found.
    pub strategy: Strategy,
    /// The write up to which points were seen.
    pub lsn: u64,
    /// Points that match the filter, if there was one.
    pub matching: Option<u64>,
    /// Vectors compared.
    pub compared: u64,
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
        let state = self.shared.inner.state();
        self.shared.inner.answer(&state, query)
    }

    /// Answers several questions about the same moment, in their order.
    ///
    /// # Errors
    /// That of the first question that cannot be answered.
    pub fn query_batch(&self, queries: &[Query]) -> Result<Vec<QueryAnswer>, QueryError> {
        let state = self.shared.inner.state();
        queries.iter().map(|query| self.shared.inner.answer(&state, query)).collect()
    }
}

impl Inner {
    fn answer(&self, state: &State, query: &Query) -> Result<QueryAnswer, QueryError> {
        let started = Instant::now();
        if query.k == 0 || query.k > K_MAX {
            let (found, expected) = (query.k.to_string(), format!("1 to {K_MAX}"));
            return Err(QueryError::Bad { what: "k", found, expected });
        }
        let Some((at, config)) = self.schema.find(&query.using) else {
            let (found, expected) = (format!("{:?}", query.using), self.schema.names());
            return Err(QueryError::Bad { what: "name of the vectors", found, expected });
        };
        let bytes = query_bytes(config, &query.vector)?;
        let matching = match &query.filter {
            Some(filter) => Some(self.matching(state, &self.check(state, filter)?)?.0),
            None => None,
        };
        let filter_us = micros(started);
        let scorer = Scorer::new(config.metric, config.shape(), &bytes);
        let (found, compared) = nearest(state, at, &scorer, matching.as_ref(), query.k)?;
        let scan_us = micros(started) - filter_us;
        let hits = self.hits(state, &found, query)?;
        let strategy = if matching.is_some() { Strategy::FilterThenExact } else { Strategy::Exact };
        let report = QueryReport {
            strategy,
            lsn: state.lsn,
            matching: matching.map(|rows| rows.len()),
            compared,
            filter_us,
            scan_us,
            total_us: micros(started),
        };
        Ok(QueryAnswer { hits, report })
    }

    /// Names the rows found, with what was asked for.
    fn hits(
        &self,
        state: &State,
        found: &[(RowId, f32)],
        query: &Query,
    ) -> Result<Vec<ScoredPoint>, QueryError> {
        let rows: Vec<RowId> = found.iter().map(|(row, _)| *row).collect();
        let documents = self.documents(state, &rows)?;
        let mut hits = Vec::with_capacity(found.len());
        for (&(row, distance), (id, payload)) in found.iter().zip(documents) {
            let vectors = if query.with_vectors { Some(self.vectors(state, row)?) } else { None };
            hits.push(ScoredPoint { id, distance, payload: query.with_payload.then_some(payload), vectors });
        }
        Ok(hits)
    }
}

/// The rows nearest to a scorer's query, and how many were compared.
fn nearest(
    state: &State,
    at: usize,
    scorer: &Scorer,
    matching: Option<&RoaringBitmap>,
    k: usize,
) -> Result<(Vec<(RowId, f32)>, u64), QueryError> {
    let allowed = |row: RowId| match matching {
        Some(matching) => matching.contains(row.0),
        None => !state.is_dead(row),
    };
    let (mut nearest, mut compared) = (Nearest::new(k), 0);
    for vectors in state.segments.iter().filter_map(|segment| segment.vectors[at].as_ref()) {
        compared += vectors.nearest(scorer, allowed, &mut nearest)?;
    }
    for point in state.live_in_memory().filter(|point| allowed(point.row)) {
        if let Some(vector) = &point.vectors[at] {
            nearest.push(point.row, scorer.distance(vector));
            compared += 1;
        }
    }
    Ok((nearest.into_sorted(), compared))
}

fn query_bytes(config: &VectorConfig, vector: &Vector) -> Result<Box<[u8]>, QueryError> {
    // A query of inner products or distances may be zero; one of angles has none.
    debug_assert!(matches!(config.metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine));
    config.encode(vector).map_err(|(found, expected)| QueryError::Bad { what: "query", found, expected })
}

fn micros(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e6
}
