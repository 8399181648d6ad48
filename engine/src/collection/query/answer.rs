//! Answering a question: prefetches first, from the innermost out, then what they are put together by.

use std::time::Instant;

use nearline_index::{Metric, RowId, Scorer};
use roaring::RoaringBitmap;

use super::super::Reader;
use super::super::nearest::{ByIndex, Compared, Effort, Found, Search};
use super::super::plan::{Reads, Strategy};
use super::super::select::FilterReport;
use super::example::Examples;
use super::judge::Judge;
use super::sample::Chance;
use super::{
    Example, K_MAX, Kind, PREFETCH_DEPTH_MAX, PREFETCHES_MAX, Query, QueryAnswer, QueryReport, Recommend,
    RecommendStrategy, ScoredPoint, micros,
};
use crate::error::QueryError;
use crate::filter::{Checked, Node};
use crate::point_id::PointId;
use crate::schema::VectorConfig;
use crate::value::Value;

/// Nearest points to an example that are looked at first, and how many times more each time these do not tell enough.
const SEEDS_FIRST: usize = 16;
const SEEDS_MORE: usize = 4;
/// How often more are looked at before all are.
const SEEDS_TRIES: usize = 3;

/// A point with its place in an order.
#[derive(Clone, Debug)]
pub(in crate::collection) struct Ranked {
    pub(in crate::collection) row: RowId,
    pub(in crate::collection) distance: f32,
    pub(in crate::collection) score: f32,
    pub(super) order_value: Option<Value>,
}

impl Ranked {
    /// By the distance to one vector.
    fn by_distance(metric: Metric, row: RowId, distance: f32) -> Self {
        Self { row, distance, score: score_of(metric, distance), order_value: None }
    }

    /// By a score, of which larger ones are better.
    pub(super) fn by_score(row: RowId, score: f32) -> Self {
        Self { row, distance: -score, score, order_value: None }
    }
}

/// The score of a distance: similarities where larger is better, distances where smaller is.
pub(in crate::collection) fn score_of(metric: Metric, distance: f32) -> f32 {
    match metric {
        Metric::L2 => distance.max(0.0).sqrt(),
        Metric::InnerProduct => 0.0 - distance,
        Metric::Cosine => 1.0 - distance,
        Metric::Manhattan => distance,
    }
}

/// What answering took, of all searches together.
#[derive(Debug, Default)]
pub(in crate::collection) struct Spent {
    how: Option<(Strategy, String)>,
    filter: FilterReport,
    matching: Option<u64>,
    picked: Compared,
    filter_us: f64,
}

impl Spent {
    pub(in crate::collection) fn how(&mut self, strategy: Strategy, why: impl Into<String>) {
        self.how = Some((strategy, why.into()));
    }

    fn filter(&mut self, report: FilterReport) {
        self.filter.payloads_asked += report.payloads_asked;
        self.filter.unindexed.extend(report.unindexed);
        self.filter.unindexed.sort_unstable();
        self.filter.unindexed.dedup();
    }

    /// Takes in a search. Hands back what it found.
    fn search(&mut self, found: Found) -> Vec<(RowId, f32)> {
        self.how(found.choice.strategy, found.choice.why);
        self.filter(found.filter);
        self.matching = found.matching;
        self.picked.add(found.picked);
        self.filter_us += found.filter_us;
        found.rows
    }

    pub(in crate::collection) fn report(self, lsn: u64, started: Instant) -> QueryReport {
        let Self { how, filter, matching, picked, filter_us } = self;
        let (strategy, why) = how.unwrap_or((Strategy::InOrder, "nothing was looked for".to_owned()));
        let total_us = micros(started);
        QueryReport {
            strategy,
            why,
            filter,
            lsn,
            matching,
            lists: picked.lists,
            compared: picked.compared,
            pages: picked.pages,
            reads: picked.reads,
            cut: picked.cut,
            filter_us,
            scan_us: total_us - filter_us,
            total_us,
        }
    }
}

/// Which points may be answered.
enum Among {
    /// All, or those that match.
    Filter(Option<Checked>),
    /// These.
    Rows(RoaringBitmap),
}

impl Reader<'_> {
    pub(in crate::collection) fn answer_all(
        &self,
        queries: &[Query],
    ) -> Result<Vec<QueryAnswer>, QueryError> {
        queries.iter().map(|query| self.answer(query)).collect()
    }

    pub(in crate::collection) fn answer(&self, query: &Query) -> Result<QueryAnswer, QueryError> {
        let started = Instant::now();
        let mut spent = Spent::default();
        let ranked = self.ranked(query, &mut spent)?;
        let report = spent.report(self.state.lsn, started);
        let hits = self.hits(ranked, query)?;
        Ok(QueryAnswer { hits, report: QueryReport { total_us: micros(started), ..report } })
    }

    /// The points of a question, best first.
    pub(in crate::collection) fn ranked(
        &self,
        query: &Query,
        spent: &mut Spent,
    ) -> Result<Vec<Ranked>, QueryError> {
        let (depth, count) = (depth_of(query), count_of(query));
        if depth > PREFETCH_DEPTH_MAX {
            let expected = format!("at most {PREFETCH_DEPTH_MAX} levels");
            return Err(QueryError::bad("prefetch", format!("{depth} levels"), expected));
        }
        if count > PREFETCHES_MAX {
            return Err(QueryError::bad("number of prefetches", count, format!("at most {PREFETCHES_MAX}")));
        }
        let sum = sum_of(query);
        if sum > K_MAX {
            return Err(QueryError::bad("points of all prefetches", sum, format!("at most {K_MAX}")));
        }
        self.within(query, None, spent)
    }

    /// The points of a question that match the filters of those around it.
    fn within(
        &self,
        query: &Query,
        outer: Option<&Checked>,
        spent: &mut Spent,
    ) -> Result<Vec<Ranked>, QueryError> {
        query.check()?;
        let own = query.filter.as_ref().map(|filter| self.check(filter)).transpose()?;
        let filter = match (outer.cloned(), own) {
            (Some(outer), Some(own)) => Some(outer.and(own)),
            (one, other) => one.or(other),
        };
        if query.prefetches.is_empty() {
            let ranked = self.first(query, Among::Filter(filter), spent)?;
            return Ok(query.cut(ranked, self.smaller_is_better(query)));
        }
        let lists = query.prefetches.iter().map(|inner| self.within(inner, filter.as_ref(), spent));
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let rows: RoaringBitmap = lists.iter().flatten().map(|point| point.row.0).collect();
        let why = format!("{} points of {} prefetches", rows.len(), lists.len());
        let ranked = match &query.kind {
            Kind::Fuse(fusion) => fusion.fuse(lists),
            Kind::Formula(formula) => self.by_formula(formula, &lists, &rows)?,
            _ => self.first(query, Among::Rows(rows), spent)?,
        };
        spent.how(Strategy::Prefetched, why);
        Ok(query.cut(ranked, self.smaller_is_better(query)))
    }

    /// Whether the scores of a question are distances.
    fn smaller_is_better(&self, query: &Query) -> bool {
        let is_plain = match &query.kind {
            Kind::Nearest(_) => true,
            Kind::Recommend(recommend) => recommend.strategy == RecommendStrategy::AverageVector,
            _ => false,
        };
        let metric = self.schema.find(&query.using).map(|(_, config)| config.metric);
        is_plain && matches!(metric, Some(Metric::L2 | Metric::Manhattan))
    }

    /// The first points of some, so many as are wanted.
    fn first(&self, query: &Query, among: Among, spent: &mut Spent) -> Result<Vec<Ranked>, QueryError> {
        let wanted = query.wanted();
        match &query.kind {
            Kind::Nearest(example) => self.by_example(query, example, among, spent),
            Kind::Recommend(recommend) => self.by_recommend(query, recommend, among, spent),
            Kind::Discover(target, pairs) => {
                let (config, mut examples) = self.examples(query)?;
                let (target, pairs) = (examples.bytes(target)?, examples.pair_bytes(pairs)?);
                let judge = Judge::discover(config, target, pairs);
                self.judged(query, &judge, examples.named, among, spent)
            }
            Kind::Feedback(feedback) => {
                let (config, mut examples) = self.examples(query)?;
                let judge = Judge::sum(config, examples.weighted(feedback)?);
                self.judged(query, &judge, examples.named, among, spent)
            }
            Kind::Context(pairs) => {
                let (config, mut examples) = self.examples(query)?;
                if pairs.is_empty() {
                    return Err(QueryError::bad("pairs of the context", "none", "one at least"));
                }
                let judge = Judge::context(config, examples.pair_bytes(pairs)?);
                self.judged(query, &judge, examples.named, among, spent)
            }
            Kind::Sample(seed) => {
                spent.how(Strategy::InOrder, "points by chance");
                let rows = self.rows_of(among, spent)?;
                let picked = Chance::new(*seed).pick(&rows, wanted);
                Ok(picked.into_iter().map(|row| Ranked::by_score(RowId(row), 1.0)).collect())
            }
            Kind::OrderBy(order) => {
                spent.how(Strategy::InOrder, "in the order of a field");
                let rows = match among {
                    Among::Filter(None) => None,
                    among => Some(self.rows_of(among, spent)?),
                };
                let ordered = self.ordered(order, rows.as_ref(), wanted)?;
                let ranked = |(row, value)| Ranked { order_value: Some(value), ..Ranked::by_score(row, 1.0) };
                Ok(ordered.into_iter().map(ranked).collect())
            }
            Kind::All => {
                spent.how(Strategy::InOrder, "in the order of ids");
                let filter = match &among {
                    Among::Filter(filter) => filter.as_ref(),
                    Among::Rows(_) => {
                        let expected = "a question that ranks their points anew";
                        return Err(QueryError::bad("prefetch", "in a question for all points", expected));
                    }
                };
                let (rows, report) = self.first_by_id(filter, wanted)?;
                spent.filter(report);
                Ok(rows.into_iter().map(|row| Ranked::by_score(row, 1.0)).collect())
            }
            Kind::Fuse(_) | Kind::Formula(_) => {
                let expected = "one at least: there is nothing else to be ranked";
                Err(QueryError::bad("prefetches", "none", expected))
            }
        }
    }

    /// What vectors of the question's name are like, and whose vectors its examples are.
    fn examples<'a>(&'a self, query: &'a Query) -> Result<(&'a VectorConfig, Examples<'a>), QueryError> {
        let config = self.vectors_named(&query.using)?.1;
        Ok((config, Examples::of(*self, config, query)))
    }

    /// The place of a name of vectors in the schema, and what they are like.
    pub(in crate::collection) fn vectors_named(
        &self,
        name: &str,
    ) -> Result<(usize, &VectorConfig), QueryError> {
        let missing = || QueryError::bad("name of the vectors", format!("{name:?}"), self.schema.names());
        self.schema.find(name).ok_or_else(missing)
    }

    fn by_example(
        &self,
        query: &Query,
        example: &Example,
        among: Among,
        spent: &mut Spent,
    ) -> Result<Vec<Ranked>, QueryError> {
        let (_, mut examples) = self.examples(query)?;
        let bytes = examples.bytes(example)?;
        let Some(mmr) = &query.mmr else {
            return self.nearest_to(query, &bytes, query.wanted(), examples.named, among, spent);
        };
        let (at, config) = self.vectors_named(&query.using)?;
        let wanted = mmr.wanted(query.wanted());
        let found = self.nearest_to(query, &bytes, wanted, examples.named, among, spent)?;
        // Those that are not good enough are no choice.
        let found = query.good(found, self.smaller_is_better(query));
        let near: Vec<(RowId, f32)> = found.iter().map(|point| (point.row, point.distance)).collect();
        let rows: Vec<RowId> = near.iter().map(|(row, _)| *row).collect();
        let vectors = self.stored_vectors(at, &rows)?;
        let chosen = mmr.choose(config, &near, &vectors, query.wanted());
        Ok(chosen.into_iter().map(|place| found[place].clone()).collect())
    }

    fn by_recommend(
        &self,
        query: &Query,
        recommend: &Recommend,
        among: Among,
        spent: &mut Spent,
    ) -> Result<Vec<Ranked>, QueryError> {
        let (config, mut examples) = self.examples(query)?;
        if recommend.strategy == RecommendStrategy::AverageVector {
            let bytes = examples.average(recommend)?;
            return self.nearest_to(query, &bytes, query.wanted(), examples.named, among, spent);
        }
        if recommend.like.is_empty() && recommend.unlike.is_empty() {
            return Err(QueryError::bad("examples", "none", "one at least, to be like or unlike"));
        }
        let (like, unlike) =
            (examples.all_bytes(recommend.like.iter())?, examples.all_bytes(recommend.unlike.iter())?);
        let judge = match recommend.strategy {
            RecommendStrategy::SumScores => {
                let plus = like.into_iter().map(|bytes| (1.0, bytes));
                Judge::sum(config, plus.chain(unlike.into_iter().map(|bytes| (-1.0, bytes))).collect())
            }
            _ => Judge::best(config, like, unlike),
        };
        self.judged(query, &judge, examples.named, among, spent)
    }

    fn nearest_to(
        &self,
        query: &Query,
        bytes: &[u8],
        k: usize,
        named: Vec<PointId>,
        among: Among,
        spent: &mut Spent,
    ) -> Result<Vec<Ranked>, QueryError> {
        let (at, config) = self.vectors_named(&query.using)?;
        let scorer = Scorer::new(config.metric, config.shape(), bytes);
        let by_index = Some(ByIndex { query: bytes, effort: query.effort() });
        let search = Search { reader: *self, at, scorer: &scorer, k: k.max(1), by_index };
        let found = match self.without(among, named)? {
            Among::Filter(filter) => search.run(filter.as_ref())?,
            // What a prefetch found is few enough to be exact about.
            Among::Rows(rows) => {
                Search { by_index: None, k: at_most(k, &rows), ..search }.among(Some(&rows))?
            }
        };
        let rows = spent.search(found);
        Ok(rows
            .into_iter()
            .map(|(row, distance)| Ranked::by_distance(config.metric, row, distance))
            .collect())
    }

    /// The best by several examples.
    fn judged(
        &self,
        query: &Query,
        judge: &Judge,
        named: Vec<PointId>,
        among: Among,
        spent: &mut Spent,
    ) -> Result<Vec<Ranked>, QueryError> {
        let (at, _) = self.vectors_named(&query.using)?;
        let search = Search { reader: *self, at, scorer: judge, k: query.wanted(), by_index: None };
        let rows = match self.without(among, named)? {
            Among::Rows(rows) => {
                spent.search(Search { k: at_most(search.k, &rows), ..search }.among(Some(&rows))?)
            }
            Among::Filter(filter) => {
                let matching = match filter {
                    None => None,
                    Some(filter) => Some(self.rows_of(Among::Filter(Some(filter)), spent)?),
                };
                match self.judged_by_index(query, judge, search, matching.as_ref(), spent)? {
                    Some(rows) => rows,
                    None => spent.search(search.among(matching.as_ref())?),
                }
            }
        };
        Ok(rows.into_iter().map(|(row, distance)| Ranked::by_score(row, 0.0 - distance)).collect())
    }

    /// Asks the vector index for what is near to the examples, more and more, until nothing farther away can be better. `None`
    /// if that costs more than to score all.
    fn judged_by_index(
        &self,
        query: &Query,
        judge: &Judge,
        all: Search<'_>,
        matching: Option<&RoaringBitmap>,
        spent: &mut Spent,
    ) -> Result<Option<Vec<(RowId, f32)>>, QueryError> {
        let mut k = query.wanted().saturating_mul(2).saturating_add(SEEDS_FIRST);
        for _ in 0..if judge.seeds.is_empty() { 0 } else { SEEDS_TRIES } {
            let (mut rows, mut farthest) = (RoaringBitmap::new(), Vec::new());
            for seed in &judge.seeds {
                let by_index = Some(ByIndex { query: &seed.bytes, effort: query.effort() });
                let found = Search { scorer: &seed.scorer, k, by_index, ..all }.among(matching)?;
                if found.choice.reads != Reads::Index {
                    return Ok(None);
                }
                let near = spent.search(found);
                farthest.extend(near.last().filter(|_| near.len() >= k).map(|(_, distance)| *distance));
                rows.extend(near.iter().map(|(row, _)| row.0));
            }
            let best = spent.search(all.among(Some(&rows))?);
            let is_full = best.len() >= query.wanted();
            let last = best.last().map_or(f32::NEG_INFINITY, |(_, distance)| 0.0 - distance);
            let is_cut = spent.picked.cut;
            if is_cut || farthest.is_empty() || (is_full && last >= judge.bound(&farthest)) {
                let why = format!(
                    "the index found {} points near {} examples; nothing farther from all of them can be better",
                    rows.len(),
                    judge.seeds.len()
                );
                spent.how(Strategy::Candidates, why);
                return Ok(Some(best));
            }
            k = k.saturating_mul(SEEDS_MORE);
        }
        Ok(None)
    }

    /// The same points, but not these.
    fn without(&self, among: Among, named: Vec<PointId>) -> Result<Among, QueryError> {
        if named.is_empty() {
            return Ok(among);
        }
        Ok(match among {
            Among::Filter(filter) => {
                let mut filter = filter.unwrap_or_default();
                filter.root.must_not.push(Node::HasId(named.into_iter().collect()));
                Among::Filter(Some(filter))
            }
            Among::Rows(mut rows) => {
                for id in named {
                    if let Some(row) = self.state.find(id)? {
                        rows.remove(row.0);
                    }
                }
                Among::Rows(rows)
            }
        })
    }

    /// The rows of points that may be answered.
    fn rows_of(&self, among: Among, spent: &mut Spent) -> Result<RoaringBitmap, QueryError> {
        let filter = match among {
            Among::Rows(rows) => return Ok(rows),
            Among::Filter(filter) => filter.unwrap_or_default(),
        };
        let started = Instant::now();
        let (rows, report) = self.matching(&filter)?;
        spent.filter(report);
        spent.filter_us += micros(started);
        spent.matching = Some(rows.len());
        Ok(rows)
    }

    /// Names the points found, with what was asked for.
    pub(in crate::collection) fn hits(
        &self,
        ranked: Vec<Ranked>,
        query: &Query,
    ) -> Result<Vec<ScoredPoint>, QueryError> {
        let rows: Vec<RowId> = ranked.iter().map(|point| point.row).collect();
        let documents = self.documents(&rows)?;
        let mut hits = Vec::with_capacity(ranked.len());
        for (Ranked { row, distance, score, order_value }, (id, payload)) in ranked.into_iter().zip(documents)
        {
            let vectors = if query.with_vectors { Some(self.vectors(row)?) } else { None };
            let payload = query.with_payload.then_some(payload);
            hits.push(ScoredPoint { id, distance, score, order_value, payload, vectors });
        }
        Ok(hits)
    }
}

impl Query {
    /// Refuses what no question can have.
    fn check(&self) -> Result<(), QueryError> {
        let wanted = self.wanted();
        if self.k == 0 || wanted > K_MAX {
            let found =
                if self.offset == 0 { self.k.to_string() } else { format!("{} + {}", self.k, self.offset) };
            return Err(QueryError::bad("k", found, format!("1 to {K_MAX}")));
        }
        if !(self.target_recall > 0.0 && self.target_recall <= 1.0) {
            return Err(QueryError::bad("target recall", self.target_recall, "above 0 and at most 1"));
        }
        if self.nprobe == Some(0) {
            return Err(QueryError::bad("nprobe", 0, "1 or more"));
        }
        if self.score_threshold.is_some_and(f32::is_nan) {
            return Err(QueryError::bad("score threshold", "NaN", "a number"));
        }
        match (&self.mmr, &self.kind) {
            (Some(mmr), Kind::Nearest(_)) => mmr.check()?,
            (Some(_), _) => {
                return Err(QueryError::bad("mmr", "with another question", "the nearest to an example"));
            }
            (None, _) => {}
        }
        match &self.kind {
            Kind::Fuse(fusion) => fusion.check(self.prefetches.len()),
            _ => Ok(()),
        }
    }

    fn effort(&self) -> Effort {
        let Self { target_recall, nprobe, max_bytes_read, max_us, .. } = *self;
        Effort { target_recall, nprobe, max_bytes_read, max_us }
    }

    /// Those whose score is good enough.
    fn good(&self, mut ranked: Vec<Ranked>, smaller_is_better: bool) -> Vec<Ranked> {
        if let Some(threshold) = self.score_threshold {
            ranked.retain(|point| match smaller_is_better {
                true => point.score <= threshold,
                false => point.score >= threshold,
            });
        }
        ranked
    }

    /// The part that is wanted.
    fn cut(&self, ranked: Vec<Ranked>, smaller_is_better: bool) -> Vec<Ranked> {
        let mut ranked = self.good(ranked, smaller_is_better);
        ranked.truncate(self.wanted());
        ranked.drain(..self.offset.min(ranked.len()));
        ranked
    }
}

/// So many, or as many as there are.
fn at_most(k: usize, rows: &RoaringBitmap) -> usize {
    k.min(rows.len() as usize).max(1)
}

/// Levels of prefetches below a question.
fn depth_of(query: &Query) -> usize {
    query.prefetches.iter().map(|inner| 1 + depth_of(inner)).max().unwrap_or(0)
}

/// Points that all prefetches below a question want.
fn sum_of(query: &Query) -> usize {
    query
        .prefetches
        .iter()
        .fold(0, |sum, inner| sum.saturating_add(inner.wanted()).saturating_add(sum_of(inner)))
}

/// Prefetches below a question.
fn count_of(query: &Query) -> usize {
    query.prefetches.iter().map(|inner| 1 + count_of(inner)).sum()
}
