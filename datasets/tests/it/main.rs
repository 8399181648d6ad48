//! Tests of the public surface.
#![expect(clippy::unwrap_used, reason = "a test may stop at once")]

mod damage;
mod formats;
mod generators;
mod ids;
mod like;
mod naive;
mod real;
mod support;
