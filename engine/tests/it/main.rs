//! Collections as their users see them.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

mod basics;
mod behaviors;
mod concurrency;
mod from_index;
mod indexed;
mod lifecycle;
mod tables;
mod upkeep;
