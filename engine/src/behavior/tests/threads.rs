//! Many threads write and read at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nearline_index::sdim::Normalize;

use super::super::store::Limits;
use super::super::{Behavior, BehaviorSpace, Candidates, SourceOffset, Span};
use super::{DIM, LIMITS, create, open, open_within};

const WRITERS: u64 = 4;
const WRITES: u64 = 150;

/// Every write holds one event of each of two users; readers must see both or neither, and versions never go back.
#[test]
fn readers_see_whole_writes_and_each_counts_once() {
    for aside in [false, true] {
        let disk = create(4, Normalize::L2);
        let limits = Limits { aside, ..LIMITS };
        many_write_and_read(&open_within(&disk, limits).unwrap());
        let space = open(&disk).unwrap();
        holds_all(&space);
        space.inner.verify().unwrap();
    }
}

fn many_write_and_read(space: &BehaviorSpace) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // Two threads send each partition: all of it comes twice.
        let writers: Vec<_> = (0..2 * WRITERS)
            .map(|writer| {
                let space = space.clone();
                scope.spawn(move || {
                    let partition = (writer % WRITERS) as u32;
                    for offset in 0..WRITES {
                        // Not even the numbers say that it is the same.
                        let event = writer << 32 | offset;
                        let pair = [1, 2].map(|user| {
                            Behavior::new(user, event, offset as i64, 7).vector([1.0 + offset as f32; DIM])
                        });
                        let source = SourceOffset { source: "s".to_owned(), partition, offset };
                        space.append_from(source, pair).unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            let (space, done) = (space.clone(), &done);
            scope.spawn(move || {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let reader = space.at(i64::MIN);
                    let first = reader.behaviors(1, Span::Last(usize::MAX)).unwrap();
                    let second = reader.behaviors(2, Span::Last(usize::MAX)).unwrap();
                    assert!(first.len() <= second.len());
                    let table = reader.tables(&[1]).unwrap().remove(0);
                    assert!(table.version >= newest && table.table.len() >= first.len() as u64);
                    newest = table.version;
                    let interest = reader.interest(2, &Candidates::Vectors(&[1.0; DIM])).unwrap();
                    assert!(first.is_empty() || interest.iter().all(|&x| x > 0.0));
                }
            });
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    holds_all(space);
    assert_eq!(space.stats().checkpoint_error, None);
}

fn holds_all(space: &BehaviorSpace) {
    let reader = space.at(i64::MIN);
    for user in [1, 2] {
        assert_eq!(reader.behaviors(user, Span::Last(usize::MAX)).unwrap().len() as u64, WRITERS * WRITES);
    }
    let offsets: Vec<u64> = space.sources().iter().map(|source| source.offset).collect();
    assert_eq!(offsets, [WRITES - 1; WRITERS as usize]);
}
