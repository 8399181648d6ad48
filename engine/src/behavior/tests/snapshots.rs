//! Snapshots of spaces, on real folders.

use super::super::{Behavior, BehaviorOptions, BehaviorSpace, Candidates, SourceOffset, Span};
use super::{DIM, Random, vector_of};
use crate::{Database, OpenError};

const USERS: u64 = 4;

fn append(space: &BehaviorSpace, from: u64, count: u64) {
    let behaviors = (from..from + count).map(|i| Behavior::new(i % USERS, i, i as i64, i % 30));
    let source = SourceOffset { source: "s".to_owned(), partition: 0, offset: from + count };
    space.append_from(source, behaviors).unwrap();
}

/// Everything that can be asked.
fn all_of(space: &BehaviorSpace) -> (Vec<Vec<Behavior>>, Vec<f32>, Vec<SourceOffset>) {
    let reader = space.at(0);
    let lists = (0..USERS).map(|user| reader.behaviors(user, Span::Last(usize::MAX)).unwrap()).collect();
    let candidates: Vec<u64> = (0..30).collect();
    let questions: Vec<_> = (0..USERS).map(|user| (user, Candidates::Items(&candidates))).collect();
    (lists, reader.interests(&questions).unwrap().values, space.sources())
}

#[test]
fn a_snapshot_is_what_there_was_and_goes_its_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).memory_budget(16 << 20).open().unwrap();
    let space = database.create_behavior_space("s", BehaviorOptions::new(DIM).hashes(4, 2)).unwrap();
    let items: Vec<u64> = (0..30).collect();
    space.put_items(&items, &items.iter().flat_map(|&item| vector_of(item)).collect::<Vec<_>>()).unwrap();
    append(&space, 0, 500);
    space.snapshot("one").unwrap();
    let then = all_of(&space);
    append(&space, 500, 300);
    space.delete_before(1, 100).unwrap();
    space.snapshot("two").unwrap();
    let now = all_of(&space);
    assert_ne!(then, now);
    assert!(matches!(space.snapshot("one"), Err(OpenError::Exists { .. })));
    assert!(space.snapshot("../x").is_err());
    assert_eq!(space.snapshots().unwrap(), ["one", "two"]);

    let one = database.restore_behavior_snapshot("s", "one", "one").unwrap();
    assert_eq!(all_of(&one), then);
    // Both go on from there, and each by itself.
    append(&one, 500, 300);
    append(&space, 800, 50);
    for space in [&one, &space] {
        space.flush().unwrap();
        space.inner.verify().unwrap();
    }
    one.delete_before(1, 100).unwrap();
    assert_eq!(all_of(&one), now);
    drop((one, space));
    database.drop_behavior_space("s").unwrap();
    drop(database);

    let database = Database::builder(folder.path()).memory_budget(16 << 20).open().unwrap();
    let one = database.behavior_space("one").unwrap();
    assert_eq!(all_of(&one), now);
    assert!(one.snapshots().unwrap().is_empty());
    let missing = |found: Result<BehaviorSpace, OpenError>| matches!(found, Err(OpenError::Missing { .. }));
    assert!(missing(database.restore_behavior_snapshot("one", "none", "x")));
    assert!(missing(database.restore_behavior_snapshot("none", "one", "x")));
    one.snapshot("three").unwrap();
    assert!(matches!(
        database.restore_behavior_snapshot("one", "three", "one"),
        Err(OpenError::Exists { .. })
    ));
    one.drop_snapshot("three").unwrap();
    assert!(one.drop_snapshot("three").is_err());
    assert_eq!(all_of(&one), now);
}

#[test]
fn a_copy_of_a_copy_is_right_whatever_was_written_before() {
    let mut random = Random(11);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::builder(folder.path()).memory_budget(16 << 20).open().unwrap();
    let mut space = database.create_behavior_space("0", BehaviorOptions::new(DIM).hashes(4, 2)).unwrap();
    let items: Vec<u64> = (0..30).collect();
    space.put_items(&items, &items.iter().flat_map(|&item| vector_of(item)).collect::<Vec<_>>()).unwrap();
    let mut from = 0;
    for round in 1..8 {
        for _ in 0..random.below(4) {
            append(&space, from, 200);
            from += 200;
            if random.once_in(3) {
                space.truncate(random.below(USERS), 70).unwrap();
            }
        }
        space.snapshot("s").unwrap();
        let expected = all_of(&space);
        let copy =
            database.restore_behavior_snapshot(&(round - 1).to_string(), "s", &round.to_string()).unwrap();
        assert_eq!(all_of(&copy), expected, "{round}");
        space = copy;
    }
}
