//! The index crate from outside: built, searched, damaged, interrupted.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod bad_input;
mod common;
mod crash;
mod damage;
mod exact;
mod kernel;
mod real;
mod resume;
mod rounds;
mod scorer;
