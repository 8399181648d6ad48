//! Group commit: many threads hand in work, one of them does it for all.
//!
//! Whoever finds nobody leading becomes the leader, takes all items that are queued, and works on them while others
//! queue up behind. So the group grows by itself as large as the work is slow; there is no timer and no thread.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Puts items of many threads together into groups, in the order they came.
///
/// ```
/// let group = nearline_storage::Group::new();
/// let answer = group.submit(20, |items: Vec<u32>| items.iter().map(|item| item * 2).collect());
/// assert_eq!(answer, 40);
/// ```
#[derive(Debug)]
pub struct Group<T, R> {
    state: Mutex<State<T, R>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T, R> {
    queue: Vec<T>,
    /// The ticket of the first item in the queue; they count up from it.
    first: u64,
    /// Whether somebody is at work on items.
    led: bool,
    /// What became of items whose threads have not looked yet; `None` if their leader panicked.
    done: BTreeMap<u64, Option<R>>,
}

impl<T, R> Default for Group<T, R> {
    fn default() -> Self {
        let state = State { queue: Vec::new(), first: 0, led: false, done: BTreeMap::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T, R> Group<T, R> {
    /// A group that nobody is in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands in an item and waits for its result. If this thread becomes the leader, it calls `lead` with all items that
    /// are queued by then, its own among them, and `lead` answers with one result for each, in their order. Items handed
    /// in meanwhile go to the next leader. Never are two calls of `lead` under way in one group.
    ///
    /// # Panics
    /// If `lead` panics or returns another number of results: in the leader and in all threads whose items it had
    /// taken. Other threads go on.
    pub fn submit(&self, item: T, lead: impl FnOnce(Vec<T>) -> Vec<R>) -> R {
        let mut state = self.lock();
        let ticket = state.first + state.queue.len() as u64;
        state.queue.push(item);
        while state.led {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = state.done.remove(&ticket) {
                return result.expect("the thread that committed for this one panicked");
            }
        }
        // Our own item is in the queue: nobody leads, and whoever led has taken other items only.
        let items = std::mem::take(&mut state.queue);
        let first = state.first;
        let count = items.len();
        state.first += count as u64;
        state.led = true;
        drop(state);

        let led = catch_unwind(AssertUnwindSafe(|| lead(items)));
        self.hand_out(first, count, ticket, led)
    }

    /// Ends the work on `count` items from the ticket `first` on: hands out the results, returns that of `own`.
    fn hand_out(&self, first: u64, count: usize, own: u64, led: std::thread::Result<Vec<R>>) -> R {
        let (mut results, panic) = match led {
            Ok(results) if results.len() == count => (results, None),
            Ok(results) => {
                let why = format!("{} results for {count} items of a group", results.len());
                (Vec::new(), Some(Box::new(why) as Box<dyn Any + Send>))
            }
            Err(panic) => (Vec::new(), Some(panic)),
        };
        let mut results = results.drain(..);
        let mut mine = None;
        let mut state = self.lock();
        state.led = false;
        for ticket in first..first + count as u64 {
            let result = results.next();
            if ticket == own {
                mine = result;
            } else {
                state.done.insert(ticket, result);
            }
        }
        drop(state);
        self.changed.notify_all();
        match (mine, panic) {
            (Some(mine), None) => mine,
            (_, Some(panic)) => resume_unwind(panic),
            (None, None) => unreachable!("there are as many results as items, and one is our own"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
