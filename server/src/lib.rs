//! The place of Nearline's HTTP server, between the library and the command line.
//!
//! There is no server yet. The crate holds its place in the layers, so that the rules for them (who may use whom,
//! where asynchronous code may stand) are kept from the start.

#![forbid(unsafe_code)]
