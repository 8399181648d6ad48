//! The index crate from outside: built, searched, damaged, interrupted.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod adopt;
mod bad_input;
mod codes;
mod common;
mod crash;
mod damage;
mod exact;
mod filter;
mod formats;
mod kernel;
mod live;
mod real;
mod recall;
mod residency;
mod resume;
mod rounds;
mod scorer;
mod stages;
