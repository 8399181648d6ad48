//! What somebody has open, by its folder: each once, however many ask for it, and while one is opened others are, too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::locked;

/// How often to look whether the last handle of what was open is dropped.
const CLOSING: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) struct Handles<T> {
    slots: Mutex<BTreeMap<String, Arc<Slot<T>>>>,
}

/// None before it was opened once. Held by who opens it, who may take the lock of the catalog meanwhile, never the other way
/// round.
type Slot<T> = Mutex<Option<Weak<T>>>;

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self { slots: Mutex::default() }
    }
}

impl<T> Handles<T> {
    /// What is open of a folder, or what `open` makes. Its error `is_in_use` may come of a last handle that another thread is
    /// just dropping, if it was open before: then it is tried again.
    pub(super) fn get_or_open<E>(
        &self,
        folder: &str,
        open: impl Fn() -> Result<Arc<T>, E>,
        is_in_use: impl Fn(&E) -> bool,
    ) -> Result<Arc<T>, E> {
        let slot = Arc::clone(locked(&self.slots).entry(folder.to_owned()).or_default());
        let mut known = locked(&slot);
        if let Some(shared) = known.as_ref().and_then(Weak::upgrade) {
            return Ok(shared);
        }
        loop {
            match open() {
                Err(error) if known.is_some() && is_in_use(&error) => std::thread::sleep(CLOSING),
                opened => {
                    let shared = opened?;
                    *known = Some(Arc::downgrade(&shared));
                    return Ok(shared);
                }
            }
        }
    }

    /// What is open of a folder. Waits for whoever is opening it.
    pub(super) fn get(&self, folder: &str) -> Option<Arc<T>> {
        let slot = locked(&self.slots).get(folder).cloned()?;
        locked(&slot).as_ref().and_then(Weak::upgrade)
    }

    /// Forgets a folder; what is open of it stays so.
    pub(super) fn forget(&self, folder: &str) -> Forgotten<T> {
        Forgotten(locked(&self.slots).remove(folder))
    }
}

/// A folder that was forgotten.
pub(super) struct Forgotten<T>(Option<Arc<Slot<T>>>);

impl<T> Forgotten<T> {
    /// What was open of it. Waits for whoever is opening it: not to be called with a lock that opening takes.
    pub(super) fn get(self) -> Option<Arc<T>> {
        locked(self.0.as_ref()?).as_ref().and_then(Weak::upgrade)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_folder_is_opened_once_and_again_when_nobody_has_it() {
        let (handles, opened) = (Handles::<usize>::default(), AtomicUsize::new(0));
        let open = || {
            std::thread::sleep(Duration::from_millis(5));
            Ok::<_, ()>(Arc::new(opened.fetch_add(1, Ordering::Relaxed)))
        };
        let get = || handles.get_or_open("a", open, |()| false).unwrap();
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(all.iter().all(|one| **one == 0) && handles.get("a").is_some());
        drop(all);
        assert!(handles.get("a").is_none());
        assert_eq!((*get(), opened.load(Ordering::Relaxed)), (1, 2));
    }

    /// Each opening waits for the other one to have begun.
    #[test]
    fn two_folders_are_opened_at_a_time() {
        let (handles, both) = (Handles::<()>::default(), Barrier::new(2));
        let open = || {
            both.wait();
            Ok::<_, ()>(Arc::new(()))
        };
        std::thread::scope(|scope| {
            for folder in ["a", "b"] {
                scope.spawn(|| handles.get_or_open(folder, open, |()| false).unwrap());
            }
        });
    }

    #[test]
    fn what_is_being_closed_is_waited_for_and_what_others_have_is_not() {
        let (handles, tries) = (Handles::<()>::default(), AtomicUsize::new(0));
        let in_use_until = |last: usize| {
            let tries = &tries;
            move || {
                if tries.fetch_add(1, Ordering::Relaxed) < last { Err("in use") } else { Ok(Arc::new(())) }
            }
        };
        let is_in_use = |error: &&str| *error == "in use";
        assert_eq!(handles.get_or_open("a", in_use_until(3), is_in_use), Err("in use"), "never open here");
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        drop(handles.get_or_open("a", in_use_until(0), is_in_use).unwrap());
        tries.store(0, Ordering::Relaxed);
        let open = handles.get_or_open("a", in_use_until(3), is_in_use).unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 4);
        assert!(Arc::ptr_eq(&handles.forget("a").get().unwrap(), &open) && handles.get("a").is_none());
        assert_eq!(handles.get_or_open("b", || Err("damaged"), is_in_use), Err("damaged"));
    }
}
