//! The log, line by line, on standard error.

use serde::{Deserialize, Serialize};
use tracing::Level;

use crate::config::Config;

/// What lines of the log look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Plain,
    /// An object each.
    Json,
    /// There is none.
    Off,
}

/// Which lines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogLevel {
    /// What went wrong, and slow queries.
    Warn,
    /// Start and stop, too.
    Info,
    /// Every request, too.
    Debug,
}

/// Starts to log. Where something logs already, it stays as it is.
pub(crate) fn start(config: &Config) {
    let level = match config.log_level {
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
    };
    let lines =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_target(false);
    // It fails only where there is one already.
    let _ = match config.log {
        LogFormat::Plain => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).try_init(),
        LogFormat::Off => Ok(()),
    };
}
