//! Calls by chance, on a collection and on its twin.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::twin::{Random, Twin, schema};
use super::{Step, asked, create, open};
use crate::{Database, Schema};

/// Runs a sequence; what fails is told with the seed and the steps up to there.
pub(super) fn explain(seed: u64, steps: &[Step], run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        eprintln!("seed {seed} failed after:");
        steps.iter().for_each(|step| eprintln!("  {step:?}"));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn calls_by_chance_do_what_they_do_to_the_twin() {
    let first = asked("NEARLINE_MODEL_FIRST", 0);
    for seed in first..first + asked("NEARLINE_MODEL_SEQUENCES", 300) {
        let mut random = Random(seed);
        let mut steps = Vec::new();
        let disk = create(seed);
        let mut collection = Some(open(&disk).unwrap());
        let mut twin = Twin::default();
        for _ in 0..10 + random.below(30) {
            let step = Step::random(&mut random);
            let reopen = random.once_in(12);
            steps.push(step.clone());
            explain(seed, &steps, || {
                let on = collection.as_ref().unwrap();
                match &step {
                    Step::Call(call) => {
                        assert_eq!(call.make(on).unwrap().points, twin.apply(call));
                    }
                    other => other.maintain(on).unwrap(),
                }
                if random.once_in(3) {
                    twin.check(on, &mut random);
                }
                if reopen {
                    drop(collection.take());
                    collection = Some(open(&disk).unwrap());
                }
                let on = collection.as_ref().unwrap();
                assert!(twin.equals(on));
                on.verify().unwrap();
            });
        }
        explain(seed, &steps, || twin.check(collection.as_ref().unwrap(), &mut random));
    }
}

#[test]
fn snapshots_and_their_copies_go_their_own_ways() {
    for seed in 0..asked("NEARLINE_MODEL_SEQUENCES", 300) / 300 {
        let folder = tempfile::tempdir().unwrap();
        let mut database = Some(database(&folder));
        let mut random = Random(seed);
        let mut twins = vec![("c0".to_owned(), Twin::default())];
        let mut snapshots: Vec<(String, String, Twin)> = Vec::new();
        let made: Schema = schema();
        drop(database.as_ref().unwrap().create_collection("c0", made).unwrap());
        let mut steps = Vec::new();
        for at in 0..60 {
            let db = database.as_ref().unwrap();
            let which = random.below(twins.len() as u64) as usize;
            let (name, twin) = &mut twins[which];
            let on = db.collection(name).unwrap();
            let step = Step::random(&mut random);
            steps.push(step.clone());
            explain(seed, &steps, || match &step {
                Step::Call(call) => {
                    assert_eq!(call.make(&on).unwrap().points, twin.apply(call));
                }
                other => other.maintain(&on).unwrap(),
            });
            explain(seed, &steps, || twin.check(&on, &mut random));
            if random.once_in(6) {
                on.snapshot(&format!("s{at}")).unwrap();
                snapshots.push((name.clone(), format!("s{at}"), twin.clone()));
            }
            if random.once_in(10) && !snapshots.is_empty() {
                let (of, snapshot, twin) = &snapshots[random.below(snapshots.len() as u64) as usize];
                let copy = db.restore_snapshot(of, snapshot, &format!("c{}", at + 1)).unwrap();
                assert!(twin.equals(&copy));
                twins.push((format!("c{}", at + 1), twin.clone()));
            }
            drop(on);
            if random.once_in(15) {
                drop(database.take());
                database = Some(self::database(&folder));
            }
        }
        for (name, twin) in &twins {
            let on = database.as_ref().unwrap().collection(name).unwrap();
            explain(seed, &steps, || {
                twin.check(&on, &mut random);
                on.verify().unwrap();
            });
        }
    }
}

fn database(folder: &tempfile::TempDir) -> Database {
    Database::builder(folder.path()).background(false).open().unwrap()
}
