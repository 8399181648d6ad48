//! Questions of every kind, answered by the twin point by point.

use std::collections::{BTreeMap, BTreeSet};

use nearline_index::{Metric, Scorer};

use super::{Random, Reads, Twin, filter, id, schema, vector};
use crate::{
    Example, Expression, Facet, Feedback, Filter, Formula, Fusion, Groups, Matrix, OrderBy, Point, PointId,
    Query, Recommend, RecommendStrategy, Value, Vector,
};

/// A question, to be put to both.
#[derive(Clone, Debug)]
struct Ask {
    kind: Kind,
    name: &'static str,
    k: usize,
    offset: usize,
    filter: Option<Filter>,
    prefetch: Vec<Ask>,
}

#[derive(Clone, Debug)]
enum Kind {
    Nearest(Vector),
    NearestTo(PointId),
    Recommend(Vec<Vector>, Vec<Vector>, RecommendStrategy),
    Discover(Vector, Vec<(Vector, Vector)>),
    Context(Vec<(Vector, Vector)>),
    Feedback(Vector, Vec<(Vector, f32)>, [f32; 3]),
    Rrf(u32, Vec<f32>),
    Dbsf,
    Formula,
    OrderBy,
    All,
}

/// What the twin ranks a point by: larger is better, then the older.
type Ranked = Vec<(PointId, f64)>;

impl Ask {
    fn random(random: &mut Random) -> Self {
        let mut ask = Self::plain(random);
        match random.below(8) {
            0 => ask.kind = Kind::All,
            1 => ask.kind = Kind::OrderBy,
            2..5 => ask.kind = ask.examples(random),
            5 => ask.prefetch = vec![Self::plain(random), Self::nested(random)],
            _ => ask = Self::nested(random),
        }
        if random.once_in(3) {
            ask.offset = random.below(3) as usize;
        }
        ask
    }

    /// For the nearest to a vector, or to a point.
    fn plain(random: &mut Random) -> Self {
        let name = ["", "c", "u"][random.below(3) as usize];
        let kind = match random.below(4) {
            0 => Kind::NearestTo(id(random)),
            _ => Kind::Nearest(vector(name, random)),
        };
        let filter = random.once_in(2).then(|| filter(random));
        Self { kind, name, k: 1 + random.below(12) as usize, offset: 0, filter, prefetch: Vec::new() }
    }

    fn examples(&self, random: &mut Random) -> Kind {
        let mut some = |least: u64| -> Vec<Vector> {
            (0..least + random.below(3)).map(|_| vector(self.name, random)).collect()
        };
        let (like, unlike) = (some(1), some(0));
        let pairs = some(2).into_iter().zip(some(2)).collect();
        let target = like[0].clone();
        let number = |random: &mut Random| random.below(5) as f32 / 2.0;
        match random.below(6) {
            5 => {
                let examples =
                    like.into_iter().chain(unlike).map(|vector| (vector, number(random))).collect();
                Kind::Feedback(target, examples, [number(random), number(random), number(random) - 1.0])
            }
            0 => Kind::Discover(target, pairs),
            1 => Kind::Context(pairs),
            2 => Kind::Recommend(like, unlike, RecommendStrategy::AverageVector),
            3 => Kind::Recommend(like, unlike, RecommendStrategy::BestScore),
            _ => Kind::Recommend(like, unlike, RecommendStrategy::SumScores),
        }
    }

    /// What puts prefetches together.
    fn nested(random: &mut Random) -> Self {
        let mut ask = Self::plain(random);
        ask.prefetch = (0..1 + random.below(3)).map(|_| Self::plain(random)).collect();
        if random.once_in(3) {
            // By places: of equal scores of other kinds, rounding would decide what is first.
            let weights = vec![1.0; ask.prefetch.len()];
            ask.prefetch.push(Self { kind: Kind::Rrf(2, weights), ..ask.clone() });
        }
        let weights = ask.prefetch.iter().map(|_| random.below(4) as f32).collect();
        ask.kind = match random.below(3) {
            0 => Kind::Rrf(1 + random.below(5) as u32, weights),
            1 => Kind::Dbsf,
            _ => Kind::Formula,
        };
        ask
    }

    fn query(&self) -> Query {
        let like = |examples: &[Vector]| examples.iter().cloned().map(Example::from).collect::<Vec<_>>();
        let mut query = match &self.kind {
            Kind::Nearest(vector) => Query::nearest(vector.clone()),
            Kind::NearestTo(id) => Query::nearest(*id),
            Kind::Recommend(plus, minus, strategy) => {
                Query::recommend(Recommend::like(like(plus)).unlike(like(minus)).strategy(*strategy))
            }
            Kind::Discover(target, pairs) => Query::discover(target.clone(), pairs.clone()),
            Kind::Context(pairs) => Query::context(pairs.clone()),
            Kind::Feedback(target, examples, [a, b, c]) => {
                let feedback = Feedback::new(target.clone(), examples.iter().cloned());
                Query::feedback(feedback.coefficients(*a, *b, *c))
            }
            Kind::Rrf(k, weights) => Query::fuse(Fusion::rrf().k(*k).weights(weights.clone())),
            Kind::Dbsf => Query::fuse(Fusion::dbsf()),
            Kind::Formula => Query::formula(formula()),
            Kind::OrderBy => Query::order_by(OrderBy::descending("n")),
            Kind::All => Query::all(),
        };
        query = query.using(self.name).k(self.k).offset(self.offset);
        if let Some(filter) = &self.filter {
            query = query.filter(filter.clone());
        }
        self.prefetch.iter().fold(query, |query, inner| query.prefetch(inner.query()))
    }
}

/// The first score, the second for a half, and the number `n`, or 7.
fn formula() -> Formula {
    let half = Expression::product([0.5.into(), Expression::score(1)]);
    Formula::new(Expression::sum([Expression::score(0), half, Expression::field("n")]))
        .default("n", 7)
        .default("$score[1]", 3)
}

/// Larger is nearer.
fn similarity(name: &str, a: &Vector, b: &Vector) -> f64 {
    let schema = schema();
    let (_, config) = schema.find(name).unwrap();
    let scorer = Scorer::new(config.metric, config.shape(), &config.encode(a).unwrap());
    let distance = f64::from(scorer.distance(&config.encode(b).unwrap()));
    if config.metric == Metric::Cosine { 1.0 - distance } else { -distance }
}

/// What is answered as the score.
fn shown(name: &str, similarity: f64) -> f64 {
    if name.is_empty() { (-similarity).sqrt() } else { similarity }
}

impl Twin {
    /// Asks questions of all kinds and compares the answers.
    pub(super) fn check_questions(&self, collection: &impl Reads, random: &mut Random) {
        for _ in 0..6 {
            let ask = Ask::random(random);
            let found = collection.query(&ask.query());
            let Some(right) = self.ranked(&ask, &[]) else {
                assert!(found.is_err(), "{ask:?}: {found:?}");
                continue;
            };
            if self.cuts_a_tie(&ask, &[]) {
                continue;
            }
            let found: Ranked =
                found.unwrap().hits.iter().map(|hit| (hit.id, f64::from(hit.score))).collect();
            let scores: BTreeMap<PointId, f64> = right.iter().copied().collect();
            let is_close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * (1.0 + b.abs());
            let part = &right[ask.offset.min(right.len())..(ask.offset + ask.k).min(right.len())];
            let agrees = found.len() == part.len()
                && found.iter().zip(part).all(|(found, right)| is_close(found.1, right.1))
                && found.iter().all(|(id, score)| is_close(*score, scores[id]));
            assert!(agrees, "{ask:?}:\n{found:?}, not\n{part:?}");
            let once: BTreeSet<PointId> = found.iter().map(|(id, _)| *id).collect();
            assert!(once.len() == found.len() || matches!(ask.kind, Kind::OrderBy), "{ask:?}: {found:?}");
        }
        self.check_groups(collection, random);
        self.check_facet(collection, random);
        self.check_matrix(collection, random);
    }

    /// Whether a prefetch by scores, which are sums of rounded numbers, ends between points that have the same but for
    /// rounding: which of them comes first is then up to that.
    fn cuts_a_tie(&self, ask: &Ask, outer: &[Filter]) -> bool {
        let filters: Vec<Filter> = outer.iter().cloned().chain(ask.filter.clone()).collect();
        ask.prefetch.iter().any(|inner| {
            let ends_in_one = || {
                let list = self.ranked(inner, &filters).unwrap_or_default();
                let ends = list.get(inner.k - 1).zip(list.get(inner.k));
                ends.is_some_and(|(last, next)| (last.1 - next.1).abs() <= 1e-6 * (1.0 + last.1.abs()))
            };
            (matches!(inner.kind, Kind::Dbsf) && ends_in_one()) || self.cuts_a_tie(inner, &filters)
        })
    }

    /// All points of a question in order, not cut; `None` if it cannot be answered.
    fn ranked(&self, ask: &Ask, outer: &[Filter]) -> Option<Ranked> {
        let filters: Vec<Filter> = outer.iter().cloned().chain(ask.filter.clone()).collect();
        let inner = ask.prefetch.iter().map(|inner| {
            let mut list = self.ranked(inner, &filters)?;
            list.truncate(inner.k);
            Some(list)
        });
        let lists: Vec<Ranked> = inner.collect::<Option<_>>()?;
        let found: BTreeSet<PointId> = lists.iter().flatten().map(|(id, _)| *id).collect();
        match &ask.kind {
            Kind::Rrf(k, weights) => {
                return Some(fused(&lists, |number, _, place| match f64::from(weights[number]) {
                    weight if weight > 0.0 => 1.0 / ((place as f64 + 1.0) / weight + f64::from(*k) - 1.0),
                    _ => 0.0,
                }));
            }
            Kind::Dbsf => return Some(fused(&lists, |_, list, place| placed(list, place))),
            _ => {}
        }
        let named = if let Kind::NearestTo(id) = ask.kind { Some(id) } else { None };
        if let Some(id) = named {
            self.points.get(&id)?.1.vectors.get(ask.name)?;
        }
        if let Kind::Recommend(plus, minus, RecommendStrategy::AverageVector) = &ask.kind {
            average(ask.name, plus, minus)?;
        }
        let may =
            |point: &Point| (ask.prefetch.is_empty() || found.contains(&point.id)) && named != Some(point.id);
        let all = Filter::must(filters.into_iter().map(Into::into));
        let mut points: Vec<&(u64, Point)> =
            self.matching(Some(&all)).filter(|(_, point)| may(point)).collect();
        if !matches!(ask.kind, Kind::All | Kind::OrderBy) {
            points.sort_by_key(|(age, _)| *age);
        }
        let mut ranked: Ranked = Vec::new();
        for (_, point) in points {
            ranked.extend(self.score(ask, &lists, point)?.map(|score| (point.id, score)));
        }
        // Scores that are distances come the other way round.
        let is_distance = match &ask.kind {
            Kind::Nearest(_) | Kind::NearestTo(_) => true,
            Kind::Recommend(_, _, strategy) => *strategy == RecommendStrategy::AverageVector,
            _ => false,
        };
        let sign = if is_distance && ask.name.is_empty() { -1.0 } else { 1.0 };
        ranked.sort_by(|a, b| (sign * b.1).total_cmp(&(sign * a.1)));
        Some(ranked)
    }

    /// The score of a point, if it has a place in the order.
    fn score(&self, ask: &Ask, lists: &[Ranked], point: &Point) -> Option<Option<f64>> {
        let own = point.vectors.get(ask.name);
        let to = |other: &Vector| own.map(|own| similarity(ask.name, other, own));
        let pair = |(plus, minus): &(Vector, Vector)| to(plus).zip(to(minus));
        let fast = |x: f64| x / (1.0 + x.abs());
        let scaled = |x: f64| 0.5 * (fast(x) + 1.0);
        Some(match &ask.kind {
            Kind::Nearest(vector) => to(vector).map(|near| shown(ask.name, near)),
            Kind::NearestTo(id) => {
                let (_, example) = self.points.get(id)?;
                let example = example.vectors.get(ask.name)?;
                to(example).map(|near| shown(ask.name, near))
            }
            Kind::Recommend(plus, minus, RecommendStrategy::AverageVector) => {
                to(&average(ask.name, plus, minus)?).map(|near| shown(ask.name, near))
            }
            Kind::Recommend(plus, minus, RecommendStrategy::SumScores) => {
                let sum = |all: &[Vector]| all.iter().map(to).sum::<Option<f64>>();
                sum(plus).zip(sum(minus)).map(|(plus, minus)| plus - minus)
            }
            Kind::Recommend(plus, minus, RecommendStrategy::BestScore) => own.map(|_| {
                let best = |all: &[Vector]| all.iter().filter_map(to).fold(f64::NEG_INFINITY, f64::max);
                let (plus, minus) = (best(plus), best(minus));
                if plus > minus { scaled(plus) } else { -scaled(minus) }
            }),
            Kind::Discover(target, pairs) => to(target).map(|near| {
                let rank = |(plus, minus): (f64, f64)| {
                    plus.partial_cmp(&minus).map_or(0.0, |order| f64::from(order as i8))
                };
                pairs.iter().filter_map(pair).map(rank).sum::<f64>() + scaled(near)
            }),
            Kind::Context(pairs) => own.map(|_| {
                let lack =
                    |(plus, minus): (f64, f64)| fast((plus - minus - f64::from(f32::EPSILON)).min(0.0));
                pairs.iter().filter_map(pair).map(lack).sum()
            }),
            Kind::Feedback(target, examples, [a, b, c]) => to(target).map(|near| {
                let mut score = f64::from(*a) * near;
                for ((better, high), (worse, low)) in
                    examples.iter().flat_map(|one| examples.iter().map(move |other| (one, other)))
                {
                    if high > low {
                        let apart = to(better).unwrap() - to(worse).unwrap();
                        score += f64::from(*c) * f64::from(high - low).powf(f64::from(*b)) * apart;
                    }
                }
                score
            }),
            Kind::Formula => {
                let given = |number: usize| {
                    let list = lists.get(number)?;
                    list.iter().find(|(id, _)| *id == point.id).map(|(_, score)| *score)
                };
                let n = point.payload.get("n").map_or(7.0, |n| n.as_number().unwrap().as_f64());
                Some(given(0).unwrap_or(0.0) + 0.5 * given(1).unwrap_or(3.0) + n)
            }
            Kind::OrderBy => point.payload.get("n").map(|_| 1.0),
            Kind::All if ask.prefetch.is_empty() => Some(1.0),
            Kind::All | Kind::Rrf(..) | Kind::Dbsf => return None,
        })
    }

    fn check_groups(&self, collection: &impl Reads, random: &mut Random) {
        let (limit, size) = (1 + random.below(4) as usize, 1 + random.below(3) as usize);
        let ask = Ask { kind: Kind::Nearest(vector("", random)), name: "", ..Ask::plain(random) };
        let path = ["n", "city", "tags"][random.below(3) as usize];
        let answer = collection.groups(&Groups::by(path, ask.query()).limit(limit).size(size)).unwrap();
        let mut right: Vec<(Value, Ranked)> = Vec::new();
        for (id, score) in self.ranked(&ask, &[]).unwrap() {
            for value in values_of(&self.points[&id].1, path) {
                if matches!(value, Value::Bool(_)) {
                    continue;
                }
                match right.iter_mut().find(|(known, _)| *known == value) {
                    Some((_, group)) if group.len() < size => group.push((id, score)),
                    Some(_) => {}
                    None => right.push((value, vec![(id, score)])),
                }
            }
        }
        right.truncate(limit);
        let found: Vec<(Value, Vec<PointId>)> = answer
            .groups
            .into_iter()
            .map(|group| (group.value, group.hits.into_iter().map(|hit| hit.id).collect()))
            .collect();
        let right: Vec<(Value, Vec<PointId>)> = right
            .into_iter()
            .map(|(value, group)| (value, group.into_iter().map(|(id, _)| id).collect()))
            .collect();
        assert_eq!(found, right, "{path} {limit} {size} {ask:?}");
    }

    fn check_facet(&self, collection: &impl Reads, random: &mut Random) {
        let (path, some) = (["n", "city", "tags"][random.below(3) as usize], filter(random));
        let mut counts: Vec<(u64, Value)> = Vec::new();
        for (_, point) in self.matching(Some(&some)) {
            for value in values_of(point, path) {
                match counts.iter_mut().find(|(_, known)| *known == value) {
                    Some((count, _)) => *count += 1,
                    None => counts.push((1, value)),
                }
            }
        }
        let place = |value: &Value| (value.as_number().is_none(), format!("{value:?}"));
        counts.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| place(&a.1).cmp(&place(&b.1))));
        counts.truncate(3);
        let hits = collection.facet(&Facet::of(path).limit(3).filter(some)).unwrap();
        let found: Vec<(u64, Value)> = hits.into_iter().map(|hit| (hit.count, hit.value)).collect();
        assert_eq!(found, counts, "{path}");
    }

    fn check_matrix(&self, collection: &impl Reads, random: &mut Random) {
        let some = filter(random);
        let with_vector = self.matching(Some(&some)).filter(|(_, point)| point.vectors.contains_key("c"));
        let all: Vec<&Point> = with_vector.map(|(_, point)| point).collect();
        let matrix = Matrix::new().using("c").filter(some).limit(2).sample(2 + random.below(40) as usize);
        let answer = collection.matrix(&matrix).unwrap();
        assert!(answer.ids.is_sorted() && answer.ids.len() == answer.neighbors.len());
        let taken: Vec<&&Point> =
            answer.ids.iter().map(|id| all.iter().find(|point| point.id == *id).unwrap()).collect();
        assert!(
            taken.len() == all.len() || taken.len() >= 2 || all.len() < 2,
            "{} of {}",
            taken.len(),
            all.len()
        );
        for (own, neighbors) in answer.neighbors.iter().enumerate() {
            let to = |other: usize| similarity("c", &taken[own].vectors["c"], &taken[other].vectors["c"]);
            let mut right: Vec<f64> = (0..taken.len()).filter(|&other| other != own).map(to).collect();
            right.sort_by(|a, b| b.total_cmp(a));
            right.truncate(2);
            assert_eq!(neighbors.len(), right.len());
            for (&(other, score), right) in neighbors.iter().zip(right) {
                assert!((to(other) - right).abs() < 1e-6 && (f64::from(score) - right).abs() < 1e-6);
            }
        }
    }
}

/// What points are counted or grouped by, each value once.
fn values_of(point: &Point, path: &str) -> Vec<Value> {
    let values = match point.payload.get(path) {
        Some(Value::Array(values)) => values.clone(),
        Some(value) => vec![value.clone()],
        None => Vec::new(),
    };
    let mut once: Vec<Value> = Vec::new();
    for value in values {
        if !value.is_null() && !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

fn fused(lists: &[Ranked], give: impl Fn(usize, &Ranked, usize) -> f64) -> Ranked {
    let mut sums: Ranked = Vec::new();
    for (number, list) in lists.iter().enumerate() {
        for (place, (id, _)) in list.iter().enumerate() {
            let given = give(number, list, place);
            match sums.iter_mut().find(|(known, _)| known == id) {
                Some((_, sum)) => *sum += given,
                None => sums.push((*id, given)),
            }
        }
    }
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    sums
}

fn placed(list: &Ranked, place: usize) -> f64 {
    let n = list.len() as f64;
    let mean = list.iter().map(|(_, score)| score).sum::<f64>() / n;
    let squares = list.iter().map(|(_, score)| (score - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (n - 1.0)).sqrt();
    if n < 2.0 || list.iter().all(|(_, score)| *score as f32 == list[0].1 as f32) {
        return 0.5;
    }
    (list[place].1 - (mean - 3.0 * deviation)) / (6.0 * deviation)
}

fn average(name: &str, plus: &[Vector], minus: &[Vector]) -> Option<Vector> {
    let mean = |all: &[Vector], at: usize| {
        let value = |vector: &Vector| match vector {
            Vector::F32(values) => f64::from(values[at]),
            Vector::U8(values) => f64::from(values[at]),
            Vector::I8(values) => f64::from(values[at]),
        };
        all.iter().map(value).sum::<f64>() / all.len() as f64
    };
    let value = |at: usize| match minus.is_empty() {
        true => mean(plus, at),
        false => 2.0 * mean(plus, at) - mean(minus, at),
    };
    let values: Vec<f64> = (0..plus[0].len()).map(value).collect();
    if name == "u" {
        return Some(Vector::F32(
            values.iter().map(|value| value.round().clamp(0.0, 255.0) as f32).collect(),
        ));
    }
    let is_zero = values.iter().all(|value| *value == 0.0);
    (name != "c" || !is_zero).then(|| Vector::F32(values.iter().map(|value| *value as f32).collect()))
}
