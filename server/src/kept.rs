//! What was asked for and stays open until it is dropped, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Open things. The lock is never held while one is opened, closed or dropped: others do not wait for that.
#[derive(Debug)]
pub(crate) struct Kept<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    open: BTreeMap<String, T>,
    /// Those that are being dropped. Who asks for one meanwhile gets what the database says, and it is not kept.
    dropping: BTreeSet<String>,
    /// How often one was dropped.
    drops: u64,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(State { open: BTreeMap::new(), dropping: BTreeSet::new(), drops: 0 }))
    }
}

impl<T: Clone> Kept<T> {
    fn locked(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one of a name, which is opened unless it is there.
    pub(crate) fn get<E>(&self, name: &str, open: impl Fn() -> Result<T, E>) -> Result<T, E> {
        loop {
            let drops = {
                let state = self.locked();
                if let Some(known) = state.open.get(name) {
                    return Ok(known.clone());
                }
                if state.dropping.contains(name) {
                    drop(state);
                    return open();
                }
                state.drops
            };
            let opened = open()?;
            let mut state = self.locked();
            // What was dropped meanwhile may be this one. Of two that are opened at a time the first counts.
            if state.drops == drops {
                return Ok(state.open.entry(name.to_owned()).or_insert(opened).clone());
            }
        }
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<(String, T)> {
        self.locked().open.iter().map(|(name, one)| (name.clone(), one.clone())).collect()
    }

    /// The one of a name, if it is open.
    pub(crate) fn known(&self, name: &str) -> Option<T> {
        self.locked().open.get(name).cloned()
    }

    /// Drops one by `act`, and lets go of it before another may have its name.
    pub(crate) fn drop_by<E>(&self, name: &str, act: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let before = {
            let mut state = self.locked();
            state.drops += 1;
            state.dropping.insert(name.to_owned());
            state.open.remove(name)
        };
        let done = act();
        let mut state = self.locked();
        state.drops += 1;
        state.dropping.remove(name);
        if let (Err(_), Some(kept)) = (&done, before.clone()) {
            state.open.entry(name.to_owned()).or_insert(kept);
        }
        drop(state);
        done
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        let before = std::mem::take(&mut self.locked().open);
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn others_do_not_wait_for_one_that_is_opened() {
        let kept = Kept::default();
        kept.get("a", || Ok::<_, ()>(1)).unwrap();
        let ((begun, begins), (go, goes)) = (mpsc::channel(), mpsc::channel());
        std::thread::scope(|scope| {
            let kept = &kept;
            let slow = scope.spawn(move || {
                kept.get("b", || {
                    begun.send(()).unwrap();
                    goes.recv_timeout(Duration::from_secs(20)).map(|()| 2)
                })
            });
            begins.recv().unwrap();
            assert_eq!(kept.get("a", || Err(())), Ok(1));
            assert_eq!(kept.all(), [("a".to_owned(), 1)]);
            go.send(()).unwrap();
            assert_eq!(slow.join().unwrap(), Ok(2));
        });
        assert_eq!(kept.known("b"), Some(2));
        kept.close();
        assert_eq!(kept.known("b"), None);
    }

    #[test]
    fn what_is_dropped_while_it_is_opened_is_opened_again() {
        let (kept, opened) = (Kept::default(), Cell::new(0));
        let open = || {
            opened.set(opened.get() + 1);
            if opened.get() == 1 {
                kept.drop_by("a", || Ok::<_, ()>(())).unwrap();
            }
            if opened.get() < 3 { Ok(opened.get()) } else { Err("gone") }
        };
        assert_eq!(kept.get("a", open), Ok(2));
        // What cannot be dropped stays.
        assert_eq!(kept.drop_by("a", || Err("busy")), Err("busy"));
        assert_eq!(kept.known("a"), Some(2));
        kept.drop_by("a", || Ok::<_, ()>(())).unwrap();
        assert_eq!(kept.get("a", open), Err("gone"));
    }

    #[test]
    fn one_that_is_made_while_another_of_its_name_is_dropped_is_the_one_that_is_got() {
        let kept = Kept::default();
        assert_eq!(kept.get("a", || Ok::<_, ()>("old")), Ok("old"));
        kept.drop_by("a", || {
            // It is gone from the disk already, and there is a new one.
            assert_eq!(kept.get("a", || Ok::<_, ()>("new")), Ok("new"));
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(kept.get("a", || Ok::<_, ()>("new")), Ok("new"));
    }
}
