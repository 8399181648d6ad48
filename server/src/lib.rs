//! The HTTP server of Nearline: a thin translation between a dialect that existing clients speak and the library.
//!
//! [`serve`] answers from an open database until it is told to stop. [`router`] is the same without a listener. What is
//! spoken is in `docs/http.md`.
//!
//! Requests are read whole, answered by a thread of a fixed pool, and their answers written afterwards: a slow client never
//! holds a thread that searches.

#![forbid(unsafe_code)]

mod app;
mod archive;
mod call;
mod config;
mod content;
mod edge;
mod error;
mod exchange;
mod form;
mod guard;
mod json;
mod kept;
mod keys;
mod log;
mod metrics;
mod openapi;
mod packed;
mod pool;
mod recall;
mod reply;
mod rights;
mod routes;
mod rows;
mod secret;
mod serve;
mod source;
mod table;
mod tables;
mod tensors;
mod tls;
mod token;
mod unread;

pub use app::{App, router};
pub use archive::restore_storage;
pub use config::{Config, ConfigError};
pub use error::ApiError;
pub use exchange::{ExchangeError, Format, Shape, export_table, import_table};
pub use log::{LogFormat, LogLevel};
pub use secret::Secret;
pub use serve::{ServeError, serve, serve_until};
