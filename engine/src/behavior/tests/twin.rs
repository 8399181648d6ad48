//! The same in maps and vectors, without files, logs or anything kept.

use std::collections::{BTreeMap, BTreeSet};

use nearline_index::sdim::{BucketTable, Normalize, ServingTable, SignFamily, exact_attention};

use super::super::{
    Behavior, BehaviorError, BehaviorSpace, Candidates, SimilarBehavior, SourceOffset, Span, WriteReport,
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
}

impl Call {
    pub(super) fn random(random: &mut Random, now: i64) -> Self {
        let user = random.below(USERS);
        match random.below(12) {
            0 => Self::Delete(user, (0..random.below(9)).map(|_| random.below(90)).collect()),
            1 => Self::Before(user, now - random.below(80) as i64),
            2 => Self::Truncate(user, random.below(40)),
            3 | 4 => Self::Items((0..random.below(6)).map(|_| random.below(ITEMS)).collect()),
            5 => Self::Flush,
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

    pub(super) fn make(&self, space: &BehaviorSpace) -> Result<WriteReport, BehaviorError> {
        match self {
            Self::Append(None, behaviors) => space.append(behaviors.clone()),
            Self::Append(Some(source), behaviors) => space.append_from(source.clone(), behaviors.clone()),
            Self::Delete(user, events) => space.delete_events(*user, events),
            Self::Before(user, time) => space.delete_before(*user, *time),
            Self::Truncate(user, keep) => space.truncate(*user, *keep),
            Self::Items(items) => {
                let vectors: Vec<f32> = items.iter().flat_map(|&item| vector_of(item)).collect();
                space.put_items(items, &vectors)
            }
            Self::Flush => space.flush().map(|()| WriteReport::default()),
        }
    }
}

fn behavior(random: &mut Random, user: u64, now: i64) -> Behavior {
    let late = if random.once_in(8) { random.below(70) as i64 } else { 0 };
    // Mostly new, now and then again.
    let event = if random.once_in(4) { random.below(90) } else { random.next() >> 20 };
    let behavior = Behavior::new(user, event, now + random.below(4) as i64 - late, random.below(ITEMS));
    if random.once_in(3) { behavior.vector(random.vector()) } else { behavior }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Twin {
    users: BTreeMap<u64, Vec<Behavior>>,
    items: BTreeSet<u64>,
    marks: BTreeMap<(String, u32), u64>,
}

impl Twin {
    /// What a call does; `None` if it is refused.
    pub(super) fn apply(&mut self, call: &Call) -> Option<WriteReport> {
        let mut report = WriteReport::default();
        match call {
            Call::Append(source, behaviors) => {
                if let Some(source) = source {
                    let mark = self.marks.get(&(source.source.clone(), source.partition));
                    report.is_repeated = mark.is_some_and(|&mark| mark >= source.offset);
                    if report.is_repeated {
                        return Some(report);
                    }
                }
                let is_known = |one: &Behavior| one.vector.is_some() || self.items.contains(&one.item);
                if !behaviors.iter().all(is_known) {
                    return None;
                }
                source.iter().for_each(|source| {
                    self.marks.insert((source.source.clone(), source.partition), source.offset);
                });
                for one in behaviors {
                    let there = self.users.entry(one.user).or_default();
                    if there.iter().any(|there| there.event == one.event) {
                        report.duplicates += 1;
                    } else {
                        report.appended += 1;
                        there.push(one.clone());
                        there.sort_by_key(|one| (one.time, one.event));
                    }
                }
            }
            Call::Delete(user, ids) => {
                report.deleted = self.retain(*user, &|_, one| !ids.contains(&one.event))
            }
            Call::Before(user, time) => report.deleted = self.retain(*user, &|_, one| one.time >= *time),
            Call::Truncate(user, keep) => {
                let len = self.users.get(user).map_or(0, Vec::len);
                report.deleted = self.retain(*user, &|at, _| at + *keep as usize >= len);
            }
            Call::Items(items) => {
                report.items = items.iter().filter(|&&item| self.items.insert(item)).count()
            }
            Call::Flush => {}
        }
        Some(report)
    }

    fn retain(&mut self, user: u64, keep: &dyn Fn(usize, &Behavior) -> bool) -> usize {
        let behaviors = self.users.entry(user).or_default();
        let (before, mut at) = (behaviors.len(), 0..);
        behaviors.retain(|behavior| keep(at.next().unwrap(), behavior));
        before - behaviors.len()
    }

    /// Whether the space has the same behaviours, items and marks.
    pub(super) fn holds(&self, space: &BehaviorSpace) -> bool {
        let long_ago = i64::MIN;
        let users = (0..USERS).all(|user| {
            let found = space.at(long_ago).behaviors(user, Span::Last(usize::MAX)).unwrap();
            found == self.users.get(&user).cloned().unwrap_or_default()
        });
        let items = (0..ITEMS).all(|item| {
            space.inner.embeddings(&[item]).is_ok_and(|found| *found[0].vector == *vector_of(item))
                == self.items.contains(&item)
        });
        let marks = space.sources().into_iter().map(|mark| ((mark.source, mark.partition), mark.offset));
        users && items && marks.eq(self.marks.clone())
    }

    fn visible(&self, user: u64, now: i64) -> Vec<Behavior> {
        let all = self.users.get(&user).cloned().unwrap_or_default();
        all.into_iter().filter(|one| one.time > now - TTL as i64).collect()
    }

    /// Compares all answers about a user.
    fn compare(&self, space: &BehaviorSpace, random: &mut Random, now: i64) {
        let (stats, user) = (space.stats(), random.below(USERS + 1));
        let family = SignFamily::from_projections(stats.shape, space.projections()).unwrap();
        let reader = space.at(now);
        let visible = self.visible(user, now);
        let vector = |one: &Behavior| one.vector.clone().unwrap_or_else(|| vector_of(one.item));
        let mut table = BucketTable::new(stats.shape);
        for one in &visible {
            table.add(&vector(one), &family.signatures(&vector(one)).unwrap()).unwrap();
        }
        let found = reader.tables(&[user]).unwrap().remove(0).table;
        assert_eq!((found.sums(), found.counts()), (table.sums(), table.counts()));

        let query: Vec<f32> = (0..random.below(4)).flat_map(|_| random.vector()).collect();
        let signatures = family.signatures(&query).unwrap();
        let mut interest = vec![0.0; query.len()];
        ServingTable::new(&table, stats.normalize).interest(&signatures, &mut interest).unwrap();
        assert_eq!(reader.interest(user, &Candidates::Vectors(&query)).unwrap(), interest);
        let some: Vec<u64> = self.items.iter().copied().take(3).collect();
        let of_items: Vec<f32> = some.iter().flat_map(|&item| vector_of(item)).collect();
        let questions = [(user, Candidates::Items(&some)), (user, Candidates::Vectors(&query))];
        let both = reader.interests(&questions).unwrap();
        assert_eq!(both.lengths, [some.len(), query.len() / DIM]);
        let by_vector = reader.interest(user, &Candidates::Vectors(&of_items)).unwrap();
        assert_eq!(both.values, [by_vector, interest].concat());

        let all: Vec<f32> = visible.iter().flat_map(vector).collect();
        let exact = exact_attention(&query, &all, DIM, 0.3).unwrap();
        assert_eq!(reader.exact_attention(user, &Candidates::Vectors(&query), 0.3).unwrap(), exact);
        self.compare_lists(space, random, now, user);
        for (signature, found) in
            signatures.iter().zip(reader.top_k_hamming(user, &Candidates::Vectors(&query), 4).unwrap())
        {
            let similar = |one: &Behavior| {
                let own = family.signatures(&vector(one)).unwrap()[0];
                SimilarBehavior { behavior: one.clone(), distance: (own ^ signature).count_ones() }
            };
            let mut all: Vec<SimilarBehavior> = visible.iter().rev().map(similar).collect();
            all.sort_by_key(|one| one.distance);
            all.truncate(4);
            assert_eq!(found, all);
        }
    }

    fn compare_lists(&self, space: &BehaviorSpace, random: &mut Random, now: i64, user: u64) {
        let visible = self.visible(user, now);
        let last = random.below(20) as usize;
        let found = space.at(now).behaviors(user, Span::Last(last)).unwrap();
        assert_eq!(found, visible[visible.len().saturating_sub(last)..]);
        let (from, to) = (now - random.below(70) as i64, now - random.below(70) as i64);
        let between = |one: &&Behavior| (from..to).contains(&one.time);
        let expected: Vec<Behavior> = visible.iter().filter(between).cloned().collect();
        assert_eq!(space.at(now).behaviors(user, Span::Between { from, to }).unwrap(), expected);
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
                (Err(BehaviorError::UnknownItem { item }), None) => assert!(!before.items.contains(&item)),
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
        space.flush().unwrap();
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
        Err(BehaviorError::UnknownItem { item: 2 })
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
