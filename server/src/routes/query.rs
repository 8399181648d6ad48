//! Questions: one or several, in the newer form and in the older one.

use axum::routing::MethodFilter;
use nearline::{Condition, Filter, K_MAX, Metric, PointId, Query, QueryReport, ScoredPoint, Scroll, Vector};
use serde::Serialize;

use super::scroll::{Wanted, records};
use crate::call::{Answer, Call, read};
use crate::error::ApiError;
use crate::json::filter::FilterIn;
use crate::json::no_shards;
use crate::json::payload::{WithPayload, WithVector};
use crate::json::point::{Record, Scored};
use crate::json::query::{Batch, Kind, LookupIn, QueryIn, SearchIn};
use crate::json::vector::{Input, config_of, prepared};
use crate::reply::{Reply, Usage};
use crate::source::Source;
use crate::table::Routes;

/// Points of an answer unless told otherwise.
const LIMIT: usize = 10;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route(
            "/collections/{collection}/points/query",
            read(MethodFilter::POST, query).says("Answers a question"),
        )
        .route(
            "/collections/{collection}/points/query/batch",
            read(MethodFilter::POST, query_batch).says("Answers several questions"),
        )
        .route(
            "/collections/{collection}/points/search",
            read(MethodFilter::POST, search).says("The nearest, in the older form"),
        )
        .route(
            "/collections/{collection}/points/search/batch",
            read(MethodFilter::POST, search_batch).says("Several questions, in the older form"),
        )
}

#[derive(Debug, Serialize)]
struct QueryOut {
    points: Vec<Scored>,
}

fn query(call: &Call, request: QueryIn) -> Answer<QueryOut> {
    Ok(answer(call, vec![request])?.map(|mut all| QueryOut { points: all.pop().unwrap_or_default() }))
}

fn query_batch(call: &Call, request: Batch<QueryIn>) -> Answer<Vec<QueryOut>> {
    let all = answer(call, request.searches)?;
    Ok(all.map(|all| all.into_iter().map(|points| QueryOut { points }).collect()))
}

fn search(call: &Call, request: SearchIn) -> Answer<Vec<Scored>> {
    Ok(answer(call, vec![request.into()])?.map(|mut all| all.pop().unwrap_or_default()))
}

fn search_batch(call: &Call, request: Batch<SearchIn>) -> Answer<Vec<Vec<Scored>>> {
    answer(call, request.searches.into_iter().map(Into::into).collect())
}

/// Answers several questions. Those for the nearest are answered about one and the same moment.
fn answer(call: &Call, requests: Vec<QueryIn>) -> Answer<Vec<Vec<Scored>>> {
    let collection = call.source()?;
    let asked = requests.into_iter().map(|request| Asked::read(call, &collection, request));
    let asked = asked.collect::<Result<Vec<_>, _>>()?;
    let queries: Vec<Query> = asked.iter().filter_map(|asked| asked.nearest().cloned()).collect();
    let answers = collection.query_batch(&queries)?;
    call.app.note_answers(&collection, &queries, &answers);
    let mut answers = answers.into_iter();
    let (mut all, mut reports) = (Vec::with_capacity(asked.len()), Vec::new());
    for asked in asked {
        all.push(match &asked.way {
            Way::Nearest { metric, .. } => match answers.next() {
                Some(answer) => {
                    reports.push(answer.report);
                    asked.scored(*metric, answer.hits)
                }
                None => Vec::new(),
            },
            Way::Scroll(scroll) => {
                let (records, _) = records(&collection, scroll, &asked.wanted)?;
                records.into_iter().skip(asked.offset).map(Record::unscored).collect()
            }
        });
    }
    Ok(with_usage(all, &reports))
}

fn with_usage(all: Vec<Vec<Scored>>, reports: &[QueryReport]) -> Reply<Vec<Vec<Scored>>> {
    let reply = Reply::from(all);
    match Usage::of(reports) {
        Some(usage) => reply.with_usage(usage),
        None => reply,
    }
}

/// A question that is known to be one.
struct Asked {
    way: Way,
    offset: usize,
    score_threshold: Option<f32>,
    wanted: Wanted,
}

/// How it is answered.
enum Way {
    Nearest { query: Box<Query>, metric: Metric },
    Scroll(Box<Scroll>),
}

impl Asked {
    fn read(call: &Call, collection: &Source, request: QueryIn) -> Result<Self, ApiError> {
        no_shards(&request.shard_key)?;
        if request.prefetch.is_some_and(|prefetch| !prefetch.0.is_empty()) {
            return Err(ApiError::unsupported("prefetch"));
        }
        let params = request.params.unwrap_or_default();
        params.check()?;
        let wanted = Wanted {
            limit: request.limit.unwrap_or(LIMIT),
            payload: request.with_payload.unwrap_or(WithPayload::All(false)),
            vector: request.with_vector.unwrap_or(WithVector::All(false)),
        };
        let offset = request.offset.unwrap_or(0);
        check_limit(call, &wanted, offset)?;
        wanted.vector.check(collection.schema())?;
        let filter = request.filter.map(FilterIn::read).transpose()?;
        let recall = if params.exact { Some(1.0) } else { params.target_recall };
        let k = wanted.limit + offset;
        let way = match request.query {
            Some(Kind::Other(name)) => return Err(ApiError::unsupported(name)),
            Some(Kind::Nearest(input)) => {
                let using = request.using.unwrap_or_default();
                nearest(call, collection, input, &using, request.lookup_from)?.way(filter, recall, k, &wanted)
            }
            Some(Kind::OrderBy(order)) => {
                Way::Scroll(Box::new(in_order(filter, k, &wanted).order_by(order.read())))
            }
            None => Way::Scroll(Box::new(in_order(filter, k, &wanted))),
        };
        Ok(Self { way, offset, score_threshold: request.score_threshold, wanted })
    }

    fn nearest(&self) -> Option<&Query> {
        match &self.way {
            Way::Nearest { query, .. } => Some(query),
            Way::Scroll(_) => None,
        }
    }

    /// The points found, as far as they are wanted, with their scores.
    fn scored(&self, metric: Metric, hits: Vec<ScoredPoint>) -> Vec<Scored> {
        let larger_is_better = matches!(metric, Metric::InnerProduct | Metric::Cosine);
        let is_enough = |score: f32| match self.score_threshold {
            None => true,
            Some(threshold) if larger_is_better => score >= threshold,
            Some(threshold) => score <= threshold,
        };
        hits.into_iter()
            .skip(self.offset)
            .map(|hit| (score(metric, hit.distance), hit))
            .take_while(|(score, _)| is_enough(*score))
            .map(|(score, hit)| Scored::new(hit, score, &self.wanted.payload, &self.wanted.vector))
            .collect()
    }
}

/// The score of a distance: similarities where larger is better, distances where smaller is.
pub(super) fn score(metric: Metric, distance: f32) -> f32 {
    match metric {
        Metric::L2 => distance.max(0.0).sqrt(),
        Metric::InnerProduct => 0.0 - distance,
        Metric::Cosine => 1.0 - distance,
        Metric::Manhattan => distance,
    }
}

fn check_limit(call: &Call, wanted: &Wanted, offset: usize) -> Result<(), ApiError> {
    if wanted.limit == 0 {
        return Err(ApiError::invalid("limit", 0, "must be 1 or larger"));
    }
    let is_bare = !wanted.payload.wants_any() && !wanted.vector.wants_any();
    let most = if is_bare { K_MAX } else { call.app.config().points.min(K_MAX) };
    match wanted.limit.checked_add(offset) {
        Some(sum) if sum <= most => Ok(()),
        _ => {
            let found = format!("{} + {offset}", wanted.limit);
            Err(ApiError::invalid("limit + offset", found, &format!("must be {most} or less")))
        }
    }
}

/// All points, or those that match, from the first on.
fn in_order(filter: Option<Filter>, k: usize, wanted: &Wanted) -> Scroll {
    let scroll = Scroll::new().limit(k).with_vectors(wanted.vector.wants_any());
    match filter {
        Some(filter) => scroll.filter(filter),
        None => scroll,
    }
}

/// A vector to be near to.
struct Target {
    vector: Vector,
    using: String,
    metric: Metric,
    /// The point it was taken from, which is no answer.
    but_not: Option<PointId>,
}

impl Target {
    fn way(self, filter: Option<Filter>, recall: Option<f32>, k: usize, wanted: &Wanted) -> Way {
        let but_not = self.but_not.map(|id| Condition::has_id([id]));
        let filter = match (filter, but_not) {
            (Some(filter), but_not) => Some(filter.and_must_not(but_not)),
            (None, Some(but_not)) => Some(Filter::must_not([but_not])),
            (None, None) => None,
        };
        let mut query = Query::nearest(self.vector)
            .using(self.using)
            .k(k)
            .with_payload(wanted.payload.wants_any())
            .with_vectors(wanted.vector.wants_any());
        if let Some(filter) = filter {
            query = query.filter(filter);
        }
        if let Some(recall) = recall {
            query = query.target_recall(recall);
        }
        Way::Nearest { query: Box::new(query), metric: self.metric }
    }
}

/// The vector of a question; that of a point is looked up, here or in another collection.
fn nearest(
    call: &Call,
    collection: &Source,
    input: Input,
    using: &str,
    lookup: Option<LookupIn>,
) -> Result<Target, ApiError> {
    let no_vector =
        |name: &str| ApiError::wrong_input(format_args!("Not existing vector name error: {name}"));
    let metric = config_of(collection.schema(), using).ok_or_else(|| no_vector(using))?.metric;
    let target = |vector, but_not| Target { vector, using: using.to_owned(), metric, but_not };
    let id = match input {
        Input::Vector(vector) => return Ok(target(prepared(vector, collection.schema(), using), None)),
        Input::Id(id) => id,
    };
    let (elsewhere, name) = match lookup {
        None => (None, using.to_owned()),
        Some(LookupIn { collection, vector, shard_key }) => {
            no_shards(&shard_key)?;
            (Some(Source::Now(call.app.collection(&collection)?)), vector.unwrap_or_else(|| using.to_owned()))
        }
    };
    let from = elsewhere.as_ref().unwrap_or(collection);
    let but_not = (from.name() == collection.name()).then_some(id);
    let point = from.get([id])?.pop().ok_or_else(|| ApiError::no_point(id))?;
    let mut vectors = point.vectors;
    let vector = vectors.remove(&name).ok_or_else(|| no_vector(&name))?;
    Ok(target(vector, but_not))
}
