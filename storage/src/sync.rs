//! What [`crate::commit`] needs of threads, under one name, so that a test can compile it against others.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
