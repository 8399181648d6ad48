//! What the points of a collection must be, by what its writers were told before their process ended.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::process::{Ack, Kept, Told, WRITERS, call, check_together, writer_of};
use super::twin::{Call, Twin};
use crate::{Collection, Point, Scroll};

/// The points of each writer, and how many of its calls made them.
pub(super) struct Ledger {
    twins: Vec<Twin>,
    pub(super) done: Vec<u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { twins: vec![Twin::default(); WRITERS], done: vec![0; WRITERS] }
    }

    /// Finds of each writer which of its calls are there: at least those that were `promised`, at most one that nobody was
    /// told of, and none of which an earlier one of any writer is missing.
    pub(super) fn settle(&mut self, collection: &Collection, promised: &[u64], told: &Told, when: &str) {
        let points = by_writer(collection);
        let mut counts: Vec<Vec<u64>> = Vec::new();
        let mut twins = Vec::new();
        for writer in 0..WRITERS {
            let last = told.acks[writer].last().map_or(self.done[writer], |ack| ack.number + 1);
            let (mut fitting, mut newest) = (Vec::new(), None);
            self.each(writer, last + 1, |count, twin| {
                if count >= promised[writer] && twin.holds(&points[writer]) {
                    fitting.push(count);
                    newest = Some(twin.clone());
                }
            });
            let Some(newest) = newest else {
                panic!(
                    "{when}: writer {writer} has other points than after {}..={}",
                    promised[writer],
                    last + 1
                )
            };
            counts.push(fitting);
            twins.push(newest);
        }
        check_prefix(&counts, told, when);
        self.done = counts.iter().map(|fitting| fitting[fitting.len() - 1]).collect();
        self.twins = twins;
        let mut all = Twin::default();
        self.twins.iter().for_each(|twin| all.extend(twin));
        // Which of two points is older is not known: the last call may have written some again as they were.
        all.is_never_contradicted(collection);
    }

    /// Checks the copy of a snapshot, taken since the last time the ledger was settled.
    pub(super) fn check_snapshot(&self, copy: &Collection, kept: &Kept, when: &str) {
        for (writer, points) in by_writer(copy).into_iter().enumerate() {
            let mut fits = false;
            self.each(writer, kept.most[writer], |count, twin| {
                fits |= count >= kept.least[writer] && twin.holds(&points);
            });
            assert!(fits, "{when}: writer {writer} in snapshot {kept:?}");
        }
    }

    /// The points of a writer after each number of calls, from those that are done to `most`.
    fn each(&self, writer: usize, most: u64, mut see: impl FnMut(u64, &Twin)) {
        let (mut twin, done) = (self.twins[writer].clone(), self.done[writer]);
        see(done, &twin);
        for number in done..most {
            twin.apply(&call(writer, number));
            see(number + 1, &twin);
        }
    }
}

/// Whatever was written before something that is there is there. `counts` are the numbers of calls of each writer that fit.
fn check_prefix(counts: &[Vec<u64>], told: &Told, when: &str) {
    let least = |writer: usize| counts[writer][0];
    let most = |writer: usize| counts[writer][counts[writer].len() - 1];
    let acks = |writer: usize| told.acks[writer].iter();
    let last = (0..WRITERS).filter_map(|writer| acks(writer).rfind(|ack| ack.number < least(writer)));
    let Some(last) = last.map(|ack| ack.lsn).max() else { return };
    for writer in 0..WRITERS {
        let missing = acks(writer).find(|ack| ack.lsn <= last && ack.number >= most(writer));
        assert!(missing.is_none(), "{when}: writer {writer} lacks {missing:?}, and record {last} is there");
    }
}

fn by_writer(collection: &Collection) -> Vec<Vec<Point>> {
    let all = collection.scroll(&Scroll::new().limit(1 << 16)).unwrap().points;
    check_together(&all);
    let mut points = vec![Vec::new(); WRITERS];
    all.into_iter().for_each(|point| points[writer_of(point.id)].push(point));
    points
}

#[test]
fn a_ledger_notices_what_is_lost_half_done_or_invented() {
    let disk = super::create(0);
    let collection = super::open(&disk).unwrap();
    let mut told = Told::nothing();
    for number in 0..20 {
        for writer in 0..WRITERS {
            let lsn = call(writer, number).make(&collection).unwrap().lsn;
            told.acks[writer].push(Ack { number, lsn });
        }
    }
    let settles = |told: &Told, promised: u64| {
        let settle = || Ledger::new().settle(&collection, &[promised; WRITERS], told, "here");
        catch_unwind(AssertUnwindSafe(settle)).is_ok()
    };
    assert!(settles(&told, 20));
    // One more was promised.
    let mut more = told.clone();
    more.acks[0].push(Ack { number: 20, lsn: 100 });
    assert!(settles(&more, 20) && !settles(&more, 21));
    // Two more are there than anybody was told.
    let mut fewer = told.clone();
    fewer.acks[3].truncate(18);
    assert!(!settles(&fewer, 0));
    // One of eight is gone.
    let at = (0..20).rev().find(|number| number % 5 != 4).unwrap();
    call(3, at).make(&collection).unwrap();
    let Call::Upsert(points, _) = call(3, at) else { panic!("no upsert") };
    collection.delete([points[0].id]).unwrap();
    assert!(!settles(&told, 0));
}
