//! Panics of code that is not ours, over bytes that are not ours either, as an answer instead of an end.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in [`guarded`]: a panic is an answer then, and nothing to be told.
pub(crate) fn is_on() -> bool {
    IS_ON.get()
}

/// What `action` gives, or `None` if it panics. What it changed must not be used any more then.
pub(crate) fn guarded<T>(action: impl FnOnce() -> T) -> Option<T> {
    let was_on = IS_ON.replace(true);
    let given = panic::catch_unwind(AssertUnwindSafe(action));
    IS_ON.set(was_on);
    given.ok()
}

#[test]
fn a_panic_is_an_answer() {
    assert_eq!(guarded(|| (is_on(), 7)), Some((true, 7)));
    assert_eq!(guarded(|| -> u8 { panic!("planted") }), None);
    assert!(!is_on());
}
