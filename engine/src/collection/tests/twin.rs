//! A collection as plain as can be: a map in memory. And calls by chance, for both.

mod questions;

use std::collections::{BTreeMap, BTreeSet};

use nearline_index::{ElementType, Metric, Scorer};

use crate::{
    Collection, Condition, Durability, Facet, FacetHit, Filter, GeoPoint, Groups, GroupsAnswer, Matrix,
    MatrixAnswer, Object, Page, Payload, Point, PointId, Query, QueryAnswer, QueryError, Schema, Scroll,
    Selector, Uuid, Value, Vector, VectorConfig, Version, WriteError, WriteReport,
};

/// Chance by seed: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

pub(super) fn schema() -> Schema {
    Schema::new()
        .vector("", VectorConfig::new(2, Metric::L2))
        .vector("c", VectorConfig::new(3, Metric::Cosine).element(ElementType::F16))
        .vector("u", VectorConfig::new(2, Metric::InnerProduct).element(ElementType::U8))
}

/// Vectors of the first name to ask with.
pub(super) fn questions() -> impl Iterator<Item = Vec<f32>> {
    (0..60).map(|at| vec![at as f32 / 10.0, 3.0 - at as f32 / 20.0])
}

/// Which points a call is about.
#[derive(Clone, Debug)]
pub(super) enum Pick {
    Ids(Vec<PointId>),
    Filter(Filter),
}

impl Pick {
    fn selector(&self) -> Selector {
        match self {
            Self::Ids(ids) => Selector::Ids(ids.clone()),
            Self::Filter(filter) => Selector::Filter(filter.clone()),
        }
    }
}

/// A call that writes.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Upsert(Vec<Point>, Durability),
    Delete(Pick),
    Set(Pick, Payload),
    Overwrite(Pick, Payload),
    Remove(Pick, Vec<String>),
    Clear(Pick),
    Vectors(Pick, VectorEdits),
    VectorsEach(Vec<(PointId, VectorEdits)>),
}

/// Vectors by name that are replaced, or removed.
type VectorEdits = Vec<(&'static str, Option<Vector>)>;

impl Call {
    pub(super) fn make(&self, on: &Collection) -> Result<WriteReport, WriteError> {
        match self {
            Self::Upsert(points, durability) => on.upsert_with(points.clone(), *durability),
            Self::Delete(pick) => on.delete(pick.selector()),
            Self::Set(pick, payload) => on.set_payload(pick.selector(), payload.clone()),
            Self::Overwrite(pick, payload) => on.overwrite_payload(pick.selector(), payload.clone()),
            Self::Remove(pick, keys) => on.delete_payload(pick.selector(), keys.clone()),
            Self::Clear(pick) => on.clear_payload(pick.selector()),
            Self::Vectors(pick, vectors) => on.update_vectors(pick.selector(), vectors.clone()),
            Self::VectorsEach(points) => on.update_vectors_each(points.clone()),
        }
    }

    /// Whether it is acknowledged only once it survives a loss of power.
    pub(super) fn is_synced(&self) -> bool {
        !matches!(self, Self::Upsert(_, Durability::Buffered))
    }

    pub(super) fn random(random: &mut Random) -> Self {
        match random.below(16) {
            0..8 => {
                let count = if random.once_in(3) { 1 + random.below(12) } else { 1 + random.below(3) };
                let buffered = random.once_in(4);
                let durability = if buffered { Durability::Buffered } else { Durability::Synced };
                Self::Upsert((0..count).map(|_| point(random)).collect(), durability)
            }
            8..11 => Self::Delete(pick(random)),
            11 => Self::Set(pick(random), payload(random)),
            12 => Self::Overwrite(pick(random), payload(random)),
            13 => Self::Remove(pick(random), vec!["n".to_owned(), "x".to_owned()]),
            14 => Self::Clear(pick(random)),
            _ if random.once_in(2) => Self::Vectors(pick(random), vector_edits(random)),
            _ => {
                let count = 1 + random.below(4);
                Self::VectorsEach((0..count).map(|_| (id(random), vector_edits(random))).collect())
            }
        }
    }
}

fn vector_edits(random: &mut Random) -> VectorEdits {
    let mut vectors = Vec::new();
    for name in ["", "c", "u"] {
        if random.once_in(2) {
            let some = !random.once_in(3);
            vectors.push((name, some.then(|| vector(name, random))));
        }
    }
    vectors
}

fn id(random: &mut Random) -> PointId {
    if random.once_in(5) {
        return PointId::Uuid(Uuid([random.below(6) as u8; 16]));
    }
    // Close together, and far away.
    let near = random.below(18);
    PointId::from(if random.once_in(4) { near << 50 } else { near })
}

fn vector(name: &str, random: &mut Random) -> Vector {
    match name {
        "" => Vector::F32((0..2).map(|_| random.below(7) as f32 - 3.0).collect()),
        "c" => Vector::F32((0..3).map(|_| random.below(4) as f32 + 0.5).collect()),
        _ => Vector::U8((0..2).map(|_| random.below(5) as u8).collect()),
    }
}

fn payload(random: &mut Random) -> Payload {
    let mut payload = Payload::new();
    if !random.once_in(4) {
        payload.insert("n", random.below(5));
    }
    if random.once_in(2) {
        payload.insert("city", ["Oslo", "Rome", "Lima"][random.below(3) as usize]);
    }
    if random.once_in(8) {
        payload.insert("x", "long ".repeat(random.below(200) as usize));
    }
    if random.once_in(3) {
        let tags = (0..random.below(4)).map(|_| match random.below(5) {
            0 => Value::Null,
            1 => Value::from(random.below(3)),
            which => Value::from(["new", "sale", "y".repeat(300).as_str()][which as usize - 2]),
        });
        payload.insert("tags", Value::Array(tags.collect()));
    }
    if random.once_in(4) {
        let (lon, lat) = (random.below(360) as f64 - 180.0, random.below(180) as f64 - 90.0);
        payload.insert("at", Object::from([("lon".to_owned(), lon.into()), ("lat".to_owned(), lat.into())]));
    }
    if random.once_in(4) {
        let room = |random: &mut Random| {
            let (area, sunny) = (random.below(4), random.once_in(2));
            Value::from(Payload::new().with("area", area).with("sunny", sunny))
        };
        payload.insert("rooms", Value::Array((0..random.below(3)).map(|_| room(random)).collect()));
    }
    payload
}

fn point(random: &mut Random) -> Point {
    let mut point = Point::new(id(random)).payload(payload(random));
    for (name, times) in [("", 8), ("c", 3), ("u", 2)] {
        if random.below(times) > 0 {
            point = point.named_vector(name, vector(name, random));
        }
    }
    point
}

pub(super) fn filter(random: &mut Random) -> Filter {
    filter_of(random, 0)
}

fn filter_of(random: &mut Random, depth: u32) -> Filter {
    let mut conditions = |most: u64| {
        let count = random.below(most + 1);
        (0..count).map(|_| condition(random, depth)).collect::<Vec<_>>()
    };
    let (one, some, others) = (conditions(1), conditions(3), conditions(2));
    match random.below(6) {
        0 => Filter::must(some),
        1 => Filter::must_not(others).and_must(some),
        2 => Filter::should(some).and_must(one),
        3 => Filter::min_should(1 + random.below(2) as usize, some),
        _ => Filter::must([condition(random, depth)]),
    }
}

fn condition(random: &mut Random, depth: u32) -> Condition {
    let some = |random: &mut Random| ["Oslo", "Rome", "Lima", "new"][random.below(4) as usize];
    match random.below(17) {
        16 => Condition::slice(2 + random.below(3) as u32, random.below(2) as u32),
        0 => Condition::matches("city", some(random)),
        1 => Condition::range("n").gte(random.below(5)),
        2 => Condition::range("n").lt(random.below(5)),
        3 => Condition::has_vector(["", "c", "u"][random.below(3) as usize]),
        4 => Condition::has_id((0..6).map(|_| id(random)).collect::<Vec<_>>()),
        5 => Condition::is_empty(["city", "tags"][random.below(2) as usize]),
        6 => Condition::matches_any("tags", ["new", "sale"]),
        7 => Condition::matches("tags", "y".repeat(300)),
        8 => Condition::matches_except("tags", ["new", some(random)]),
        9 => Condition::matches("n", random.below(5)),
        10 => Condition::matches_text("x", "long"),
        11 => Condition::geo_radius("at", GeoPoint { lon: 0.0, lat: 0.0 }, 8e6),
        12 => Condition::values_count("tags").gte(random.below(3)),
        13 => Condition::is_null("tags"),
        14 if depth < 2 => filter_of(random, depth + 1).into(),
        14 => Condition::matches_prefix("city", "O"),
        _ => {
            let area = Condition::range("area").gte(random.below(4));
            Condition::nested("rooms", Filter::must([area, Condition::matches("sunny", true)]))
        }
    }
}

/// What is read of points: those of a collection, or of a version of it.
pub(super) trait Reads {
    /// As it is kept, nothing is counted.
    fn points(&self) -> u64;
    fn get(&self, ids: Vec<PointId>) -> Result<Vec<Point>, QueryError>;
    fn count(&self, filter: Option<&Filter>) -> Result<u64, QueryError>;
    fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError>;
    fn query(&self, query: &Query) -> Result<QueryAnswer, QueryError>;
    fn groups(&self, groups: &Groups) -> Result<GroupsAnswer, QueryError>;
    fn facet(&self, facet: &Facet) -> Result<Vec<FacetHit>, QueryError>;
    fn matrix(&self, matrix: &Matrix) -> Result<MatrixAnswer, QueryError>;
}

macro_rules! reads {
    ($of:ty, $points:expr) => {
        impl Reads for $of {
            fn points(&self) -> u64 {
                $points(self)
            }

            fn get(&self, ids: Vec<PointId>) -> Result<Vec<Point>, QueryError> {
                self.get(ids)
            }

            fn count(&self, filter: Option<&Filter>) -> Result<u64, QueryError> {
                self.count(filter)
            }

            fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError> {
                self.scroll(scroll)
            }

            fn query(&self, query: &Query) -> Result<QueryAnswer, QueryError> {
                self.query(query)
            }

            fn groups(&self, groups: &Groups) -> Result<GroupsAnswer, QueryError> {
                self.query_groups(groups)
            }

            fn facet(&self, facet: &Facet) -> Result<Vec<FacetHit>, QueryError> {
                self.facet(facet)
            }

            fn matrix(&self, matrix: &Matrix) -> Result<MatrixAnswer, QueryError> {
                self.matrix(matrix)
            }
        }
    };
}

reads!(Collection, |on: &Collection| on.stats().points);
reads!(Version, |on: &Version| on.count(None).unwrap());

fn pick(random: &mut Random) -> Pick {
    if random.once_in(3) {
        return Pick::Filter(filter(random));
    }
    Pick::Ids((0..1 + random.below(4)).map(|_| id(random)).collect())
}

/// The twin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Twin {
    /// With the order in which they were written last.
    points: BTreeMap<PointId, (u64, Point)>,
    writes: u64,
}

impl Twin {
    fn put(&mut self, point: Point) {
        self.writes += 1;
        self.points.insert(point.id, (self.writes, point));
    }

    /// Points that are meant, oldest first.
    fn picked(&self, pick: &Pick) -> Vec<PointId> {
        let mut ids: BTreeSet<(u64, PointId)> = BTreeSet::new();
        match pick {
            Pick::Ids(wanted) => {
                ids.extend(wanted.iter().filter_map(|id| Some((self.points.get(id)?.0, *id))));
            }
            Pick::Filter(filter) => {
                ids.extend(self.matching(Some(filter)).map(|(age, point)| (*age, point.id)));
            }
        }
        ids.into_iter().map(|(_, id)| id).collect()
    }

    fn matching(&self, filter: Option<&Filter>) -> impl Iterator<Item = &(u64, Point)> {
        let checked = filter.map(|filter| filter.check().unwrap());
        self.points.values().filter(move |(_, point)| {
            let has_vector = |name: &str| point.vectors.contains_key(name);
            checked.as_ref().is_none_or(|filter| filter.matches(point.id, &point.payload, has_vector))
        })
    }

    /// Does what a call does, and says to how many points.
    pub(super) fn apply(&mut self, call: &Call) -> u64 {
        let pick = match call {
            Call::Upsert(points, _) => {
                let is_last = |at: usize| points[at + 1..].iter().all(|later| later.id != points[at].id);
                let last: Vec<usize> = (0..points.len()).filter(|&at| is_last(at)).collect();
                last.iter().for_each(|&at| self.put(points[at].clone()));
                return last.len() as u64;
            }
            Call::VectorsEach(points) => {
                let mut edits: BTreeMap<PointId, VectorEdits> = BTreeMap::new();
                points.iter().for_each(|(id, more)| edits.entry(*id).or_default().extend(more.clone()));
                edits.retain(|id, _| self.points.contains_key(id));
                for (id, vectors) in &edits {
                    self.apply(&Call::Vectors(Pick::Ids(vec![*id]), vectors.clone()));
                }
                return edits.len() as u64;
            }
            Call::Delete(pick)
            | Call::Set(pick, _)
            | Call::Overwrite(pick, _)
            | Call::Remove(pick, _)
            | Call::Clear(pick)
            | Call::Vectors(pick, _) => pick,
        };
        let ids = self.picked(pick);
        for id in &ids {
            let (_, mut point) = self.points.remove(id).unwrap();
            match call {
                Call::Upsert(..) | Call::VectorsEach(_) | Call::Delete(_) => continue,
                Call::Set(_, new) => new.iter().for_each(|(key, value)| {
                    point.payload.insert(key, value.clone());
                }),
                Call::Overwrite(_, new) => point.payload = new.clone(),
                Call::Remove(_, keys) => keys.iter().for_each(|key| {
                    point.payload.remove(key);
                }),
                Call::Clear(_) => point.payload = Payload::new(),
                Call::Vectors(_, vectors) => vectors.iter().for_each(|(name, vector)| match vector {
                    Some(vector) => drop(point.vectors.insert((*name).to_owned(), vector.clone())),
                    None => drop(point.vectors.remove(*name)),
                }),
            }
            self.put(point);
        }
        ids.len() as u64
    }

    /// Takes in the points of another, as if they were written now.
    pub(super) fn extend(&mut self, other: &Self) {
        other.points.values().for_each(|(_, point)| self.put(point.clone()));
    }

    /// Whether a collection holds the same points.
    pub(super) fn equals(&self, collection: &impl Reads) -> bool {
        let all = collection.scroll(&Scroll::new().limit(1 << 16)).unwrap();
        self.holds(&all.points)
    }

    /// Whether these are its points, in the order of their ids.
    pub(super) fn holds(&self, points: &[Point]) -> bool {
        points.iter().eq(self.points.values().map(|(_, point)| point))
    }

    /// Asks a collection all kinds of things and compares the answers.
    pub(super) fn check(&self, collection: &impl Reads, random: &mut Random) {
        assert_eq!(collection.count(None).unwrap(), self.points.len() as u64);
        assert_eq!(collection.points(), self.points.len() as u64);
        let ids: Vec<PointId> = (0..8).map(|_| id(random)).collect();
        let right: Vec<&Point> = ids.iter().filter_map(|id| Some(&self.points.get(id)?.1)).collect();
        assert!(collection.get(ids).unwrap().iter().eq(right), "points by their ids");
        for filter in [None, Some(filter(random))] {
            let right: Vec<Point> = self.matching(filter.as_ref()).map(|(_, point)| point.clone()).collect();
            assert_eq!(collection.count(filter.as_ref()).unwrap(), right.len() as u64, "{filter:?}");
            let limit = 1 + random.below(if filter.is_some() { 4 } else { 20 }) as usize;
            assert_eq!(scrolled(collection, filter.as_ref(), limit), right, "{limit} {filter:?}");
            for name in ["", "c", "u"] {
                self.check_query(collection, filter.as_ref(), name, random);
            }
        }
        self.check_questions(collection, random);
    }

    /// As [`Twin::check`] for a collection that may be damaged, and whatever the order in which points were written:
    /// what is answered at all is right.
    pub(super) fn is_never_contradicted(&self, collection: &impl Reads) {
        let points = self.points.len() as u64;
        assert!(collection.count(None).is_ok_and(|count| count == points), "what is counted is in memory");
        let some = Filter::must([Condition::range("n").gte(2)]);
        let right = self.matching(Some(&some)).count() as u64;
        assert!(collection.count(Some(&some)).map_or(true, |count| count == right), "points that match");
        if let Ok(all) = collection.scroll(&Scroll::new().limit(1 << 16)) {
            assert!(all.points.iter().eq(self.points.values().map(|(_, point)| point)), "a scroll");
        }
        for (id, (_, point)) in &self.points {
            assert!(collection.get(vec![*id]).map_or(true, |found| found == [point.clone()]), "{id}");
        }
        let query = Query::nearest([0.0, 0.0]).k(1 << 10).with_vectors(true).with_payload(true);
        let Ok(answer) = collection.query(&query) else { return };
        assert_eq!(
            answer.hits.len(),
            self.points.values().filter(|(_, point)| point.vectors.contains_key("")).count()
        );
        for hit in &answer.hits {
            let (_, point) = &self.points[&hit.id];
            assert_eq!(
                (hit.payload.as_ref(), hit.vectors.as_ref()),
                (Some(&point.payload), Some(&point.vectors))
            );
        }
    }

    fn check_query(&self, collection: &impl Reads, filter: Option<&Filter>, name: &str, random: &mut Random) {
        let (wanted, k) = (vector(name, random), 1 + random.below(12) as usize);
        let schema = schema();
        let (_, config) = schema.find(name).unwrap();
        let scorer = Scorer::new(config.metric, config.shape(), &config.encode(&wanted).unwrap());
        let mut right: Vec<(f32, u64, &Point)> = Vec::new();
        for (age, point) in self.matching(filter) {
            let Some(vector) = point.vectors.get(name) else { continue };
            let distance = match (&wanted, vector) {
                (Vector::F32(a), Vector::F32(b)) if name.is_empty() => {
                    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
                }
                _ => scorer.distance(&config.encode(vector).unwrap()),
            };
            right.push((distance, *age, point));
        }
        right.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        right.truncate(k);
        let mut query = Query::nearest(wanted).using(name).k(k).with_payload(true).with_vectors(true);
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        let hits = collection.query(&query).unwrap().hits;
        let found: Vec<(f32, PointId)> = hits.iter().map(|hit| (hit.distance, hit.id)).collect();
        let wanted: Vec<(f32, PointId)> =
            right.iter().map(|(distance, _, point)| (*distance, point.id)).collect();
        assert_eq!(found, wanted, "{query:?}");
        for (hit, (_, _, point)) in hits.iter().zip(right) {
            assert_eq!(
                (hit.payload.as_ref(), hit.vectors.as_ref()),
                (Some(&point.payload), Some(&point.vectors))
            );
        }
    }
}

/// All points, page by page.
pub(super) fn scrolled(collection: &impl Reads, filter: Option<&Filter>, limit: usize) -> Vec<Point> {
    let mut scroll = Scroll::new().limit(limit);
    if let Some(filter) = filter {
        scroll = scroll.filter(filter.clone());
    }
    let mut all = Vec::new();
    loop {
        let page = collection.scroll(&scroll).unwrap();
        assert!(page.points.len() <= limit, "a page is longer than asked for");
        all.extend(page.points);
        let Some(next) = page.next else { return all };
        scroll = scroll.from(next);
    }
}
