//! From a question of the dialect to one of the library.

use nearline::{
    Collection, Example, Feedback, Fusion, K_MAX, MMR_CANDIDATES_MAX, Mmr, PointId, Query, Recommend,
    RecommendStrategy, Schema,
};

use super::super::scroll::Wanted;
use crate::call::Call;
use crate::error::ApiError;
use crate::json::filter::FilterIn;
use crate::json::no_shards;
use crate::json::payload::{WithPayload, WithVector};
use crate::json::query::{
    FeedbackIn, FeedbackStrategyIn, FusionIn, Kind, LookupIn, MmrIn, PairIn, QueryIn, RecommendIn, RrfIn,
    SaidIn,
};
use crate::json::vector::{Input, config_of, prepared};
use crate::source::Source;

/// Points of an answer, and of a prefetch, unless told otherwise.
const LIMIT: usize = 10;
/// Prefetches inside of prefetches are read no deeper: the library says why.
const DEPTH: usize = nearline::PREFETCH_DEPTH_MAX + 1;

/// A question that is known to be one, and what is wanted of its points.
pub(in crate::routes) struct Asked {
    pub(in crate::routes) query: Query,
    pub(in crate::routes) wanted: Wanted,
}

impl Asked {
    /// A question for points.
    pub(in crate::routes) fn read(
        call: &Call,
        collection: &Source,
        request: QueryIn,
    ) -> Result<Self, ApiError> {
        let wanted = wanted_of(collection.schema(), &request, LIMIT)?;
        let offset = request.offset.unwrap_or(0);
        check_limit(call, &wanted, wanted.limit.checked_add(offset), "limit + offset")?;
        Self::with(call, collection, request, wanted)
    }

    /// A question whose points are put into groups of so many.
    pub(in crate::routes) fn of_groups(
        call: &Call,
        collection: &Source,
        request: QueryIn,
        size: usize,
    ) -> Result<Self, ApiError> {
        let wanted = wanted_of(collection.schema(), &request, LIMIT)?;
        if size == 0 {
            return Err(ApiError::invalid("group_size", 0, "must be 1 or larger"));
        }
        check_limit(call, &wanted, wanted.limit.checked_mul(size), "limit * group_size")?;
        Self::with(call, collection, request, wanted)
    }

    fn with(call: &Call, collection: &Source, request: QueryIn, wanted: Wanted) -> Result<Self, ApiError> {
        no_shards(&request.shard_key)?;
        let query = Translator { call, collection }.query(request, 0)?;
        let query = query.with_payload(wanted.payload.wants_any()).with_vectors(wanted.vector.wants_any());
        Ok(Self { query, wanted })
    }
}

fn wanted_of(schema: &Schema, request: &QueryIn, limit: usize) -> Result<Wanted, ApiError> {
    let wanted = Wanted {
        limit: request.limit.unwrap_or(limit),
        payload: request.with_payload.clone().unwrap_or(WithPayload::All(false)),
        vector: request.with_vector.clone().unwrap_or(WithVector::All(false)),
    };
    wanted.vector.check(schema)?;
    Ok(wanted)
}

fn check_limit(call: &Call, wanted: &Wanted, points: Option<usize>, what: &str) -> Result<(), ApiError> {
    if wanted.limit == 0 {
        return Err(ApiError::invalid("limit", 0, "must be 1 or larger"));
    }
    let is_bare = !wanted.payload.wants_any() && !wanted.vector.wants_any();
    let most = if is_bare { K_MAX } else { call.app.config().points.min(K_MAX) };
    match points {
        Some(points) if points <= most => Ok(()),
        found => {
            let found = found.map_or_else(|| "beyond all bounds".to_owned(), |found| found.to_string());
            Err(ApiError::invalid(what, found, &format!("must be {most} or less")))
        }
    }
}

/// What a translation needs to know.
struct Translator<'a> {
    call: &'a Call,
    collection: &'a Source,
}

impl Translator<'_> {
    fn query(&self, request: QueryIn, depth: usize) -> Result<Query, ApiError> {
        let using = request.using.unwrap_or_default();
        let lookup = request.lookup_from.map(|lookup| self.lookup(lookup, &using)).transpose()?;
        let examples = Examples { collection: self.collection, using: &using, lookup: lookup.as_ref() };
        let mut query = match request.query {
            Some(kind) => examples.query(kind)?,
            None => Query::all(),
        };
        if let Some(Lookup::Here(name)) = &lookup {
            query = query.lookup(name.clone());
        }
        let limit = request.limit.unwrap_or(LIMIT);
        if limit == 0 {
            return Err(ApiError::invalid("prefetch.limit", 0, "must be 1 or larger"));
        }
        query = query.using(using).k(limit).offset(request.offset.unwrap_or(0));
        if let Some(threshold) = request.score_threshold {
            query = query.score_threshold(threshold);
        }
        if let Some(filter) = request.filter.map(FilterIn::read).transpose()? {
            query = query.filter(filter);
        }
        query = request.params.unwrap_or_default().apply(query)?;
        // One level deeper than there may be is enough to be refused.
        for inner in request.prefetch.unwrap_or_default().0.into_iter().filter(|_| depth < DEPTH) {
            query = query.prefetch(self.query(inner.into(), depth + 1)?);
        }
        Ok(query)
    }

    fn lookup(&self, lookup: LookupIn, using: &str) -> Result<Lookup, ApiError> {
        no_shards(&lookup.shard_key)?;
        let name = lookup.vector.unwrap_or_else(|| using.to_owned());
        let from = self.call.app.collection(&lookup.collection)?;
        match from.name() == self.collection.name() {
            true => Ok(Lookup::Here(name)),
            false => Ok(Lookup::There(from, name)),
        }
    }
}

/// Whose vectors points that are examples have: those of this name.
enum Lookup {
    Here(String),
    There(Collection, String),
}

/// The examples of a question.
struct Examples<'a> {
    collection: &'a Source,
    using: &'a str,
    lookup: Option<&'a Lookup>,
}

impl Examples<'_> {
    fn query(&self, kind: Kind) -> Result<Query, ApiError> {
        match kind {
            Kind::Other(name) => Err(ApiError::unsupported(name)),
            Kind::Nearest(input, mmr) => {
                self.check()?;
                let query = Query::nearest(self.example(input)?);
                Ok(match mmr {
                    Some(mmr) => query.mmr(read_mmr(mmr)?),
                    None => query,
                })
            }
            Kind::Recommend(recommend) => {
                self.check()?;
                self.recommend(recommend)
            }
            Kind::Discover(discover) => {
                self.check()?;
                let context = self.pairs(discover.context.unwrap_or_default().0)?;
                Ok(Query::discover(self.example(discover.target)?, context))
            }
            Kind::Context(pairs) => {
                self.check()?;
                Ok(Query::context(self.pairs(pairs)?))
            }
            Kind::Feedback(feedback) => {
                self.check()?;
                self.feedback(feedback)
            }
            Kind::OrderBy(order) => Ok(Query::order_by(order.read())),
            Kind::Fusion(FusionIn::Rrf) => Ok(Query::fuse(Fusion::rrf())),
            Kind::Fusion(FusionIn::Dbsf) => Ok(Query::fuse(Fusion::dbsf())),
            Kind::Rrf(rrf) => read_rrf(rrf),
            Kind::Formula(formula) => Ok(Query::formula(formula.read()?)),
            Kind::Sample => Ok(Query::sample()),
        }
    }

    fn check(&self) -> Result<(), ApiError> {
        match config_of(self.collection.schema(), self.using) {
            Some(_) => Ok(()),
            None => Err(ApiError::no_vector(self.using)),
        }
    }

    fn recommend(
        &self,
        RecommendIn { positive, negative, strategy }: RecommendIn,
    ) -> Result<Query, ApiError> {
        let strategy = strategy.map(RecommendStrategy::from).unwrap_or_default();
        // An average is one of vectors as they are sent.
        let example = |input| match (strategy, input) {
            (RecommendStrategy::AverageVector, Input::Vector(vector)) => Ok(Example::Vector(vector.0.into())),
            (_, input) => self.example(input),
        };
        let all = |inputs: Option<Vec<Input>>| {
            inputs.unwrap_or_default().into_iter().map(example).collect::<Result<Vec<_>, _>>()
        };
        Ok(Query::recommend(Recommend::like(all(positive)?).unlike(all(negative)?).strategy(strategy)))
    }

    fn feedback(&self, FeedbackIn { target, feedback, strategy }: FeedbackIn) -> Result<Query, ApiError> {
        let FeedbackStrategyIn::Naive { a, b, c } = strategy;
        if b < 0.0 {
            return Err(ApiError::invalid("relevance_feedback.strategy.naive.b", b, "must be 0 or larger"));
        }
        let said = |said: SaidIn| Ok((self.example(said.example)?, said.score));
        let examples = feedback.into_iter().map(said).collect::<Result<Vec<_>, ApiError>>()?;
        Ok(Query::feedback(Feedback::new(self.example(target)?, examples).coefficients(a, b, c)))
    }

    fn pairs(&self, pairs: Vec<PairIn>) -> Result<Vec<(Example, Example)>, ApiError> {
        let pair = |pair: PairIn| Ok((self.example(pair.positive)?, self.example(pair.negative)?));
        pairs.into_iter().map(pair).collect()
    }

    /// An example; points of other collections are looked up.
    fn example(&self, input: Input) -> Result<Example, ApiError> {
        match (input, self.lookup) {
            (Input::Vector(vector), _) => {
                Ok(Example::Vector(prepared(vector, self.collection.schema(), self.using)))
            }
            (Input::Id(id), Some(Lookup::There(from, name))) => there(from, name, id),
            (Input::Id(id), _) => Ok(Example::Point(id)),
        }
    }
}

fn there(from: &Collection, name: &str, id: PointId) -> Result<Example, ApiError> {
    let point = from.get([id])?.pop().ok_or_else(|| ApiError::no_point(id))?;
    let mut vectors = point.vectors;
    vectors.remove(name).map(Example::Vector).ok_or_else(|| ApiError::no_vector(name))
}

fn read_mmr(MmrIn { diversity, candidates_limit }: MmrIn) -> Result<Mmr, ApiError> {
    let diversity = diversity.unwrap_or(0.5);
    if !(0.0..=1.0).contains(&diversity) {
        return Err(ApiError::invalid("mmr.diversity", diversity, "must be from 0.0 to 1.0"));
    }
    match candidates_limit {
        None => Ok(Mmr::new(diversity)),
        Some(limit) if limit <= MMR_CANDIDATES_MAX => Ok(Mmr::new(diversity).candidates(limit)),
        Some(limit) => {
            let expected = format!("must be from 0 to {MMR_CANDIDATES_MAX}");
            Err(ApiError::invalid("mmr.candidates_limit", limit, &expected))
        }
    }
}

fn read_rrf(RrfIn { k, weights }: RrfIn) -> Result<Query, ApiError> {
    let mut fusion = Fusion::rrf();
    if let Some(k) = k {
        if k == 0 {
            return Err(ApiError::invalid("rrf.k", 0, "must be 1 or larger"));
        }
        fusion = fusion.k(k);
    }
    Ok(Query::fuse(match weights {
        Some(weights) => fusion.weights(weights),
        None => fusion,
    }))
}
