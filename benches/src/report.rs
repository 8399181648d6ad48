//! What was measured, for people and for programs.

use crate::measure::Measured;

/// The head of the table that [`row`] fills.
pub fn head() -> String {
    format!(
        "{:<14} {:>6} {:>7} {:>7} {:>7} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7}",
        "scenario",
        "target",
        "recall",
        "lists",
        "reads",
        "KiB read",
        "mean us",
        "p50 us",
        "p99 us",
        "build s",
        "MiB"
    )
}

/// One line of the table.
pub fn row(m: &Measured) -> String {
    format!(
        "{:<14} {:>6} {:>7.4} {:>7.1} {:>7.1} {:>9.1} {:>8.0} {:>8.0} {:>8.0} {:>7.1} {:>7.1}",
        m.scenario,
        m.target_recall,
        m.recall,
        m.lists_per_query,
        m.reads_per_query,
        m.bytes_per_query / 1024.0,
        m.mean_us,
        m.p50_us,
        m.p99_us,
        m.build_seconds,
        m.disk_bytes as f64 / f64::from(1 << 20),
    )
}

/// One object in one line.
pub fn json(m: &Measured) -> String {
    serde_json::to_string(m).unwrap_or_default()
}
