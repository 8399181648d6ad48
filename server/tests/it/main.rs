//! The server as its users meet it, without a network but where one is needed.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod behaviors;
mod collections;
mod keys;
mod limits;
mod listening;
mod operations;
mod own;
mod points;
mod questions;
mod snapshots;
mod support;
mod tables;
mod tls;
