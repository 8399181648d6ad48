//! The recall of answers, measured while they are given: one question in so many is answered again, exactly, by a thread of its own that
//! rests much longer than it works.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nearline::{Collection, PointId, Query, QueryAnswer, Strategy};

use crate::metrics::Metrics;
use crate::pool::Pool;

/// How long the thread rests, in terms of how long it worked.
const REST: u32 = 50;

/// Takes samples of questions.
#[derive(Debug)]
pub(crate) struct Sampler {
    thread: Pool,
    metrics: Arc<Metrics>,
    /// One question in so many; none for 0.
    every: u64,
    asked: AtomicU64,
    gate: Arc<Gate>,
}

/// Lets one replay through at a time, and the next after a rest.
#[derive(Debug, Default)]
struct Gate {
    is_taken: AtomicBool,
    rests_until: Mutex<Option<Instant>>,
}

impl Gate {
    fn take(&self) -> bool {
        let until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until) && !self.is_taken.swap(true, Ordering::AcqRel)
    }

    fn give_back(&self, rest: Duration) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(rest);
        self.is_taken.store(false, Ordering::Release);
    }
}

impl Sampler {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(every: u64, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let thread = Pool::start("recall", 1, 1)?;
        Ok(Self { thread, metrics, every, asked: AtomicU64::new(0), gate: Arc::default() })
    }

    /// Questions were answered so: one of them may be a sample.
    pub(crate) fn offer(&self, collection: &Collection, queries: &[Query], answers: &[QueryAnswer]) {
        if self.every == 0 || queries.is_empty() {
            return;
        }
        let count = queries.len() as u64;
        let before = self.asked.fetch_add(count, Ordering::Relaxed);
        let at = before.next_multiple_of(self.every) - before;
        let (Some(query), Some(answer)) = (queries.get(at as usize), answers.get(at as usize)) else {
            return;
        };
        // Points by chance are others each time.
        if answer.report.strategy == Strategy::InOrder || !self.gate.take() {
            return;
        }
        let ids: BTreeSet<PointId> = answer.hits.iter().map(|hit| hit.id).collect();
        let (query, collection, lsn) = (query.clone(), collection.clone(), answer.report.lsn);
        let (metrics, gate) = (Arc::clone(&self.metrics), Arc::clone(&self.gate));
        let is_begun = self.thread.offer(move || {
            let began = Instant::now();
            replay(&collection, query, lsn, &ids, &metrics);
            gate.give_back(began.elapsed() * REST);
        });
        if !is_begun {
            self.gate.give_back(Duration::ZERO);
        }
    }

    pub(crate) fn close(&self) {
        self.thread.close();
    }
}

fn replay(collection: &Collection, query: Query, lsn: u64, given: &BTreeSet<PointId>, metrics: &Metrics) {
    let exact = query.target_recall(1.0).with_payload(false).with_vectors(false);
    // Whoever asked was told if it cannot be answered. After a write, there is nothing to compare with.
    let Ok(answer) = collection.query(&exact) else { return };
    if answer.report.lsn == lsn {
        let found = answer.hits.iter().filter(|hit| given.contains(&hit.id)).count();
        metrics.sampled(found as u64, answer.hits.len() as u64);
    }
}
