//! Tests of the public surface.

mod damage;
mod formats;
mod generators;
mod ids;
mod like;
mod naive;
mod real;
mod support;
