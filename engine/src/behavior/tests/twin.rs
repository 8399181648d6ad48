//! The same in maps and vectors, without files, logs or anything kept.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nearline_index::sdim::{BucketTable, Normalize, ServingTable, exact_attention};

use super::super::manifest::Stage;
use super::super::moving::Move;
use super::super::store::{Inner, locked};
use super::super::{
    Behavior, BehaviorError, BehaviorOptions, BehaviorReader, BehaviorSpace, BehaviorStats, Candidates,
    EpochInfo, EpochStage, SimilarBehavior, SourceOffset, Span, WriteReport,
};
use super::{DIM, Random, TTL, create, open, vector_of};

const USERS: u64 = 6;
const ITEMS: u64 = 30;

/// A write.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Append(Option<SourceOffset>, Vec<Behavior>),
    Delete(u64, Vec<u64>),
    Before(u64, i64),
    Truncate(u64, u64),
    Items(Vec<u64>),
    Flush,
    /// Begins to move what there is into files, which goes on until the end, or until something waits for it.
    Begin,
    End,
    /// Another epoch: of the same embeddings or of new ones, and whether the one before is kept.
    Epoch {
        seed: u64,
        is_new: bool,
        keeps: bool,
    },
    /// Items of the epoch that is being made.
    NextItems(Vec<u64>),
    /// Builds the epoch that is being made.
    Build,
    /// Drops one of those that do not serve.
    Drop(u64),
}

impl Call {
    pub(super) fn random(random: &mut Random, now: i64) -> Self {
        let user = random.below(USERS);
        match random.below(12) {
            0 => Self::Delete(user, (0..random.below(9)).map(|_| random.below(90)).collect()),
            1 => Self::Before(user, now - random.below(80) as i64),
            2 => Self::Truncate(user, random.below(40)),
            3 | 4 => Self::Items((0..random.below(6)).map(|_| random.below(ITEMS)).collect()),
            5 => [Self::Flush, Self::Begin, Self::End][random.below(3) as usize].clone(),
            6 | 7 => Self::Append(None, (0..random.below(80)).map(|_| behavior(random, user, now)).collect()),
            _ => {
                let (partition, offset) = (random.below(2) as u32, random.below(60));
                let source = SourceOffset { source: "clicks".to_owned(), partition, offset };
                let behaviors = (0..random.below(12)).map(|_| {
                    let user = random.below(USERS);
                    behavior(random, user, now)
                });
                let behaviors = behaviors.collect();
                Self::Append(Some(source).filter(|_| random.once_in(2)), behaviors)
            }
        }
    }

    /// The same, and epochs are made and dropped now and then.
    pub(super) fn with_epochs(random: &mut Random, now: i64) -> Self {
        match random.below(24) {
            0 | 1 => Self::Epoch { seed: random.next(), is_new: random.once_in(2), keeps: random.once_in(2) },
            2 | 3 => Self::NextItems((0..random.below(40)).map(|_| random.below(ITEMS)).collect()),
            4 => Self::NextItems((0..ITEMS).collect()),
            5 | 6 => Self::Build,
            7 => Self::Drop(random.next()),
            _ => Self::random(random, now),
        }
    }

    pub(super) fn make(&self, space: &BehaviorSpace) -> Result<WriteReport, BehaviorError> {
        let done = |()| WriteReport::default();
        if matches!(self, Self::Flush | Self::Begin | Self::Epoch { .. } | Self::Build | Self::Drop(_)) {
            end(space)?;
        }
        match self {
            Self::Append(source, behaviors) => {
                let dim = space.shape().dim();
                let behaviors = behaviors.iter().cloned().map(|mut one| {
                    one.vector.iter_mut().for_each(|vector| vector.truncate(dim));
                    one
                });
                match source {
                    None => space.append(behaviors),
                    Some(source) => space.append_from(source.clone(), behaviors),
                }
            }
            Self::Delete(user, events) => space.delete_events(*user, events),
            Self::Before(user, time) => space.delete_before(*user, *time),
            Self::Truncate(user, keep) => space.truncate(*user, *keep),
            Self::Items(items) => {
                let epoch = super::serving(space);
                let vector = |&item: &u64| vector_in(epoch.of, epoch.shape().dim(), item);
                space.put_items(items, &items.iter().flat_map(vector).collect::<Vec<f32>>())
            }
            Self::Flush => space.flush().map(done),
            Self::Begin => begin(space).map(done),
            Self::End => end(space).map(done),
            Self::Epoch { seed, is_new, keeps } => {
                let options = Made::options(*seed, *is_new, &space.stats());
                space.create_epoch(options, *keeps).map(|_| WriteReport::default())
            }
            Self::NextItems(items) => {
                let Some((number, of, dim)) = in_making(space) else { return Ok(WriteReport::default()) };
                let vector = |&item: &u64| vector_in(of, dim, item);
                space.put_items_of(number, items, &items.iter().flat_map(vector).collect::<Vec<f32>>())
            }
            Self::Build => {
                let Some((number, ..)) = in_making(space) else { return Ok(WriteReport::default()) };
                // What builds in the background would do the same operations whenever it likes.
                space.inner.begin_build(number)?;
                space.finish_build().map(done)
            }
            Self::Drop(which) => {
                let infos = space.epochs();
                let others: Vec<u32> = infos
                    .iter()
                    .filter(|info| info.stage != EpochStage::Serving)
                    .map(|info| info.number)
                    .collect();
                let at = usize::try_from(which % (others.len() as u64 + 1)).unwrap();
                others.get(at).map_or(Ok(()), |&number| space.drop_epoch(number)).map(done)
            }
        }
    }
}

thread_local! {
    /// What is on its way into files.
    static BEGUN: RefCell<Option<Move>> = const { RefCell::new(None) };
}

fn begin(space: &BehaviorSpace) -> Result<(), BehaviorError> {
    let inner: &Inner = &space.inner;
    let begun = inner.begin(&mut locked(&inner.writer))?;
    BEGUN.set(begun);
    Ok(())
}

/// Whether it is of this space, and not of one that is gone.
fn is_on_its_way(inner: &Inner, begun: &Move) -> bool {
    inner.state().files.moving.as_ref().is_some_and(|moving| Arc::ptr_eq(moving, &begun.changes))
}

fn end(space: &BehaviorSpace) -> Result<(), BehaviorError> {
    let inner: &Inner = &space.inner;
    let Some(mut begun) = BEGUN.take() else { return Ok(()) };
    if !is_on_its_way(inner, &begun) {
        return Ok(());
    }
    let written = inner.write(&mut begun);
    inner.end(&mut locked(&inner.writer), begun, written)
}

/// The epoch that is being made: its number, the first of its embeddings, how long their vectors are.
fn in_making(space: &BehaviorSpace) -> Option<(u32, u32, usize)> {
    let epochs = Arc::clone(&space.inner.state().epochs);
    let is_made = |stage: &Stage| matches!(stage, Stage::Filling | Stage::Building { .. });
    let (epoch, _) = epochs.all.iter().find(|(_, stage)| is_made(stage))?;
    Some((epoch.number, epoch.of, epoch.shape().dim()))
}

/// The vector of an item among embeddings.
fn vector_in(of: u32, dim: usize, item: u64) -> Vec<f32> {
    let mut vector = vector_of(item ^ u64::from(of - 1) << 32);
    vector.truncate(dim);
    vector
}

fn behavior(random: &mut Random, user: u64, now: i64) -> Behavior {
    let late = if random.once_in(8) { random.below(70) as i64 } else { 0 };
    // Mostly new, now and then again.
    let event = if random.once_in(4) { random.below(90) } else { random.next() >> 20 };
    let behavior = Behavior::new(user, event, now + random.below(4) as i64 - late, random.below(ITEMS));
    if random.once_in(3) { behavior.vector(random.vector()) } else { behavior }
}

/// An epoch.
#[derive(Clone, Debug, PartialEq)]
struct Made {
    number: u32,
    of: u32,
    dim: usize,
    stage: EpochStage,
    keeps: bool,
}

impl Made {
    fn options(seed: u64, is_new: bool, stats: &BehaviorStats) -> BehaviorOptions {
        let dim = if is_new { 2 + seed as usize % (DIM - 1) } else { stats.shape.dim() };
        let version =
            if is_new { format!("{seed} after {}", stats.epoch) } else { stats.embedding_version.clone() };
        let normalize = [Normalize::L2, Normalize::None, Normalize::Count][(seed >> 8) as usize % 3];
        BehaviorOptions::new(dim)
            .hashes(2 + (seed >> 16) as usize % 3, 1 + (seed >> 24) as usize % 3)
            .seed(seed)
            .normalize(normalize)
            .ttl_ms(TTL)
            .embedding_version(version)
    }
}

/// The only stage that is not told apart further.
const BUILDING: EpochStage = EpochStage::Building { next_user: 0 };

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Twin {
    /// Behaviours, and the first epoch of the embeddings that their own vectors are of.
    users: BTreeMap<u64, Vec<(Behavior, u32)>>,
    /// By the first epoch of their embeddings.
    items: BTreeMap<u32, BTreeSet<u64>>,
    marks: BTreeMap<(String, u32), u64>,
    epochs: Vec<Made>,
    next_epoch: u32,
}

impl Default for Twin {
    fn default() -> Self {
        let first = Made { number: 1, of: 1, dim: DIM, stage: EpochStage::Serving, keeps: false };
        Self {
            users: BTreeMap::new(),
            items: BTreeMap::new(),
            marks: BTreeMap::new(),
            epochs: vec![first],
            next_epoch: 2,
        }
    }
}

impl Twin {
    fn serving(&self) -> &Made {
        self.epochs.iter().find(|made| made.stage == EpochStage::Serving).unwrap()
    }

    fn making(&self) -> Option<usize> {
        self.epochs.iter().position(|made| matches!(made.stage, EpochStage::Filling | BUILDING))
    }

    fn has(&self, of: u32, item: u64) -> bool {
        self.items.get(&of).is_some_and(|items| items.contains(&item))
    }

    /// Whether an epoch can count a behaviour.
    fn counts(&self, made: &Made, (one, of): &(Behavior, u32)) -> bool {
        (one.vector.is_some() && *of == made.of) || self.has(made.of, one.item)
    }

    /// What a behaviour is counted by in an epoch.
    fn vector(&self, made: &Made, behavior: &(Behavior, u32)) -> Option<Vec<f32>> {
        let (one, of) = behavior;
        let own = one.vector.clone().filter(|_| *of == made.of);
        own.or_else(|| self.has(made.of, one.item).then(|| vector_in(made.of, made.dim, one.item)))
    }

    fn drop_unused(&mut self) {
        let used: Vec<u32> = self.epochs.iter().map(|made| made.of).collect();
        self.items.retain(|of, _| used.contains(of));
    }

    /// When a build was under way.
    pub(super) fn building(&self) -> Self {
        let mut twin = self.clone();
        if let Some(at) = twin.making() {
            twin.epochs[at].stage = BUILDING;
        }
        twin
    }

    /// Builds what is being made; `None` if it cannot be.
    fn build(&mut self) -> Option<()> {
        let Some(at) = self.making() else { return Some(()) };
        let made = self.epochs[at].clone();
        if !self.users.values().flatten().all(|one| self.counts(&made, one)) {
            self.epochs[at].stage = EpochStage::Filling;
            return None;
        }
        let serving = self.serving().number;
        for other in &mut self.epochs {
            if other.number == made.number {
                other.stage = EpochStage::Serving;
            } else if other.number == serving {
                other.stage = EpochStage::Kept;
            }
        }
        self.epochs.retain(|other| made.keeps || other.number != serving);
        self.drop_unused();
        Some(())
    }

    /// What a call does; `None` if it is refused.
    pub(super) fn apply(&mut self, call: &Call) -> Option<WriteReport> {
        let mut report = WriteReport::default();
        match call {
            Call::Append(source, behaviors) => return self.append(source.as_ref(), behaviors),
            Call::Delete(user, ids) => {
                report.deleted = self.retain(*user, &|_, one| !ids.contains(&one.event))
            }
            Call::Before(user, time) => report.deleted = self.retain(*user, &|_, one| one.time >= *time),
            Call::Truncate(user, keep) => {
                let len = self.users.get(user).map_or(0, Vec::len);
                report.deleted = self.retain(*user, &|at, _| at + *keep as usize >= len);
            }
            Call::Items(items) => report.items = self.put(self.serving().of, items),
            Call::Flush | Call::Begin | Call::End => {}
            Call::Epoch { seed, is_new, keeps } => {
                if self.making().is_some() || self.epochs.len() >= 8 {
                    return None;
                }
                let (serving, number) = (self.serving(), self.next_epoch);
                let (of, dim) = match is_new {
                    true => (number, 2 + *seed as usize % (DIM - 1)),
                    false => (serving.of, serving.dim),
                };
                self.epochs.push(Made { number, of, dim, stage: EpochStage::Filling, keeps: *keeps });
                self.next_epoch += 1;
            }
            Call::NextItems(items) => {
                let of = self.making().map(|at| self.epochs[at].of);
                report.items = of.map_or(0, |of| self.put(of, items));
            }
            Call::Build => self.build()?,
            Call::Drop(which) => {
                let others = self.epochs.iter().filter(|made| made.stage != EpochStage::Serving);
                let others: Vec<u32> = others.map(|made| made.number).collect();
                let gone = others.get(*which as usize % (others.len() + 1)).copied();
                self.epochs.retain(|made| Some(made.number) != gone);
                self.drop_unused();
            }
        }
        Some(report)
    }

    /// `None` if an epoch that counts lacks a vector.
    fn append(&mut self, source: Option<&SourceOffset>, behaviors: &[Behavior]) -> Option<WriteReport> {
        let mut report = WriteReport::default();
        if let Some(source) = source {
            let mark = self.marks.get(&(source.source.clone(), source.partition));
            report.is_repeated = mark.is_some_and(|&mark| mark >= source.offset);
            if report.is_repeated {
                return Some(report);
            }
        }
        let Made { of, dim, .. } = *self.serving();
        let cut = |mut one: Behavior| {
            one.vector.iter_mut().for_each(|vector| vector.truncate(dim));
            (one, of)
        };
        let behaviors: Vec<(Behavior, u32)> = behaviors.iter().cloned().map(cut).collect();
        let mut counting =
            self.epochs.iter().filter(|made| matches!(made.stage, EpochStage::Serving | BUILDING));
        if !counting.all(|made| behaviors.iter().all(|one| self.counts(made, one))) {
            return None;
        }
        if let Some(source) = source {
            self.marks.insert((source.source.clone(), source.partition), source.offset);
        }
        for (one, of) in behaviors {
            let there = self.users.entry(one.user).or_default();
            if there.iter().any(|(there, _)| there.event == one.event) {
                report.duplicates += 1;
            } else {
                report.appended += 1;
                there.push((one, of));
                there.sort_by_key(|(one, _)| (one.time, one.event));
            }
        }
        Some(report)
    }

    fn put(&mut self, of: u32, items: &[u64]) -> usize {
        let there = self.items.entry(of).or_default();
        items.iter().filter(|&&item| there.insert(item)).count()
    }

    fn retain(&mut self, user: u64, keep: &dyn Fn(usize, &Behavior) -> bool) -> usize {
        let behaviors = self.users.entry(user).or_default();
        let (before, mut at) = (behaviors.len(), 0..);
        behaviors.retain(|(behavior, _)| keep(at.next().unwrap(), behavior));
        before - behaviors.len()
    }

    /// Whether the space has the same behaviours, items, marks and epochs.
    pub(super) fn holds(&self, space: &BehaviorSpace) -> bool {
        let long_ago = i64::MIN;
        let users = (0..USERS).all(|user| {
            let found = space.at(long_ago).behaviors(user, Span::Last(usize::MAX)).unwrap();
            found == self.shown(self.users.get(&user).cloned().unwrap_or_default(), self.serving().of)
        });
        let epochs = Arc::clone(&space.inner.state().epochs);
        let items = self.epochs.iter().all(|made| {
            let Some((epoch, _)) = epochs.get(made.number) else { return false };
            (0..ITEMS).all(|item| {
                let found = space.inner.find_embeddings(&[item], epoch).unwrap().remove(0);
                found.is_some_and(|found| *found.vector == *vector_in(made.of, made.dim, item))
                    == self.has(made.of, item)
            })
        });
        let marks = space.sources().into_iter().map(|mark| ((mark.source, mark.partition), mark.offset));
        let stage = |info: &EpochInfo| match info.stage {
            EpochStage::Building { .. } => BUILDING,
            other => other,
        };
        let epochs = space.epochs();
        let epochs = epochs.iter().map(|info| (info.number, stage(info)));
        users
            && items
            && marks.eq(self.marks.clone())
            && epochs.eq(self.epochs.iter().map(|made| (made.number, made.stage)))
    }

    /// Behaviours as they are shown in an epoch of these embeddings.
    fn shown(&self, behaviors: Vec<(Behavior, u32)>, of: u32) -> Vec<Behavior> {
        let shown =
            |(one, own): (Behavior, u32)| Behavior { vector: one.vector.filter(|_| own == of), ..one };
        behaviors.into_iter().map(shown).collect()
    }

    fn visible(&self, user: u64, now: i64) -> Vec<(Behavior, u32)> {
        let all = self.users.get(&user).cloned().unwrap_or_default();
        all.into_iter().filter(|(one, _)| one.time > now - TTL as i64).collect()
    }

    /// Compares all answers about a user, in all epochs.
    pub(super) fn compare(&self, space: &BehaviorSpace, random: &mut Random, now: i64) {
        for made in &self.epochs {
            let reader = space.at(now).epoch(made.number);
            match made.stage {
                EpochStage::Serving | EpochStage::Kept => {
                    self.compare_in(made, &reader.unwrap(), random, now)
                }
                _ => assert!(matches!(reader, Err(BehaviorError::UnknownEpoch { .. }))),
            }
        }
        let unknown = space.at(now).epoch(self.next_epoch).unwrap_err().to_string();
        assert!(unknown.contains("does not answer"), "{unknown}");
    }

    fn compare_in(&self, made: &Made, reader: &BehaviorReader<'_>, random: &mut Random, now: i64) {
        let (epoch, user) = (Arc::clone(&reader.epoch), random.below(USERS + 1));
        let (family, shape, dim) = (&epoch.family, epoch.shape(), made.dim);
        let visible: Vec<(Behavior, u32)> =
            self.visible(user, now).into_iter().filter(|one| self.counts(made, one)).collect();
        let vector = |one: &(Behavior, u32)| self.vector(made, one).unwrap();
        let mut table = BucketTable::new(shape);
        for one in &visible {
            table.add(&vector(one), &family.signatures(&vector(one)).unwrap()).unwrap();
        }
        let found = reader.tables(&[user]).unwrap().remove(0).table;
        assert_eq!((found.sums(), found.counts()), (table.sums(), table.counts()));

        let query: Vec<f32> = (0..random.below(4)).flat_map(|_| random.vector()[..dim].to_vec()).collect();
        let signatures = family.signatures(&query).unwrap();
        let mut interest = vec![0.0; query.len()];
        ServingTable::new(&table, epoch.normalize).interest(&signatures, &mut interest).unwrap();
        assert_eq!(reader.interest(user, &Candidates::Vectors(&query)).unwrap(), interest);
        let some: Vec<u64> = self.items.get(&made.of).into_iter().flatten().copied().take(3).collect();
        let of_items: Vec<f32> = some.iter().flat_map(|&item| vector_in(made.of, dim, item)).collect();
        let questions = [(user, Candidates::Items(&some)), (user, Candidates::Vectors(&query))];
        let both = reader.interests(&questions).unwrap();
        assert_eq!(both.lengths, [some.len(), query.len() / dim]);
        let by_vector = reader.interest(user, &Candidates::Vectors(&of_items)).unwrap();
        assert_eq!(both.values, [by_vector, interest].concat());

        let all: Vec<f32> = visible.iter().flat_map(vector).collect();
        let exact = exact_attention(&query, &all, dim, 0.3).unwrap();
        assert_eq!(reader.exact_attention(user, &Candidates::Vectors(&query), 0.3).unwrap(), exact);
        self.compare_lists(made, reader, random, now, user);
        for (signature, found) in
            signatures.iter().zip(reader.top_k_hamming(user, &Candidates::Vectors(&query), 4).unwrap())
        {
            let similar = |one: &(Behavior, u32)| {
                let own = family.signatures(&vector(one)).unwrap()[0];
                let behavior = self.shown(vec![one.clone()], made.of).remove(0);
                SimilarBehavior { behavior, distance: (own ^ signature).count_ones() }
            };
            let mut all: Vec<SimilarBehavior> = visible.iter().rev().map(similar).collect();
            all.sort_by_key(|one| one.distance);
            all.truncate(4);
            assert_eq!(found, all);
        }
    }

    fn compare_lists(
        &self,
        made: &Made,
        reader: &BehaviorReader<'_>,
        random: &mut Random,
        now: i64,
        user: u64,
    ) {
        let visible = self.shown(self.visible(user, now), made.of);
        let last = random.below(20) as usize;
        let found = reader.behaviors(user, Span::Last(last)).unwrap();
        assert_eq!(found, visible[visible.len().saturating_sub(last)..]);
        let (from, to) = (now - random.below(70) as i64, now - random.below(70) as i64);
        let between = |one: &&Behavior| (from..to).contains(&one.time);
        let expected: Vec<Behavior> = visible.iter().filter(between).cloned().collect();
        assert_eq!(reader.behaviors(user, Span::Between { from, to }).unwrap(), expected);
    }
}

#[test]
fn a_space_is_its_twin() {
    for (seed, normalize) in
        (0..24).zip([Normalize::L2, Normalize::None, Normalize::Count].into_iter().cycle())
    {
        let mut random = Random(seed);
        let disk = create(seed, normalize);
        let mut space = open(&disk).unwrap();
        let (mut twin, mut now) = (Twin::default(), 1_000);
        for step in 0..250 {
            now += random.below(3) as i64;
            let call = Call::random(&mut random, now);
            let before = twin.clone();
            match (call.make(&space), twin.apply(&call)) {
                (Ok(found), Some(expected)) => assert_eq!(found, expected, "{call:?}"),
                (Err(BehaviorError::UnknownItem { item, .. }), None) => assert!(!before.has(1, item)),
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
            // The clock may go back.
            let at = now - if random.once_in(6) { random.below(40) as i64 } else { 0 };
            twin.compare(&space, &mut random, at);
            if random.once_in(25) {
                drop(space);
                space = open(&disk).unwrap();
            }
            if step % 10 == 0 {
                assert!(twin.holds(&space));
            }
        }
        let stats = space.stats();
        assert!(stats.files > 0 && stats.checkpoint_error.is_none(), "{stats:?}");
        Call::Flush.make(&space).unwrap();
        space.inner.verify().unwrap();
        assert!(twin.holds(&space));
    }
}

#[test]
fn bad_input_is_named_and_changes_nothing() {
    let space = open(&create(0, Normalize::L2)).unwrap();
    let bad = |found: Result<WriteReport, BehaviorError>, words: &str| {
        let error = found.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    bad(
        space.append([Behavior::new(1, 1, 1, 1).vector([1.0])]),
        "vector of a behaviour: 1 values; expected 5",
    );
    bad(space.append([Behavior::new(1, 1, 1, 1).vector([1.0, 2.0, f32::NAN, 0.0, 0.0])]), "NaN at element 2");
    bad(space.append([Behavior::new(1, 1, 1, 1)]), "item 1 has no vector");
    bad(space.put_items(&[1], &[0.5; 6]), "vectors of items: 6 values");
    bad(space.put_items(&[1, 1], &[[0.5; 5], [0.25; 5]].concat()), "item 1 has another vector");
    let nameless = SourceOffset { source: String::new(), partition: 0, offset: 0 };
    bad(space.append_from(nameless, []), "name of a source");
    assert_eq!(space.stats().lsn, 0);
    space.put_items(&[1], &[0.5; 5]).unwrap();
    assert_eq!(space.put_items(&[1, 1], &[0.5; 10]).unwrap().items, 0);
    bad(space.put_items(&[1], &[0.25; 5]), "item 1 has another vector");
    let reader = space.now();
    assert!(matches!(
        reader.interest(9, &Candidates::Items(&[2])),
        Err(BehaviorError::UnknownItem { item: 2, epoch: 1 })
    ));
    assert!(reader.interest(9, &Candidates::Vectors(&[1.0; 4])).is_err());
    assert!(reader.exact_attention(9, &Candidates::Items(&[1]), f32::NAN).is_err());
    let many = vec![1; super::super::CANDIDATES_MAX + 1];
    assert!(reader.interest(9, &Candidates::Items(&many)).is_err());
    // Nobody is interested in nothing.
    assert_eq!(reader.interest(9, &Candidates::Items(&[1])).unwrap(), [0.0; 5]);
    assert_eq!(reader.interest(9, &Candidates::Items(&[])).unwrap(), [0.0; 0]);
    assert_eq!(reader.tables(&[9]).unwrap()[0].version, 0);
    assert!(super::super::BehaviorOptions::new(0).epoch(1).is_err());
    assert!(super::super::BehaviorOptions::new(5).projections([1.0]).epoch(1).is_err());
}
