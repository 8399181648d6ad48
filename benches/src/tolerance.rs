//! What a scenario may give: bounds that fail a run.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::measure::Measured;

/// Bounds for one scenario at one recall asked for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The scenario's name.
    pub scenario: String,
    /// Recall asked for.
    pub target_recall: f32,
    /// Recall must not be below.
    pub recall_min: f64,
    /// Reads per query must not be above.
    pub reads_max: f64,
    /// Bytes per query must not be above.
    pub bytes_max: f64,
}

/// The whole file of bounds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerances {
    /// In no particular order.
    #[serde(default)]
    pub bound: Vec<Bound>,
}

/// Points of recall a new bound lies below what was measured.
const RECALL_MARGIN: f64 = 0.005;
/// Factor by which a new bound lies above the reads and bytes that were measured.
const COST_MARGIN: f64 = 1.05;

impl Tolerances {
    /// Reads a file of bounds.
    ///
    /// # Errors
    /// When it cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{}: not readable", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Everything that is out of bounds; a measurement without a bound is, too.
    pub fn complaints(&self, measured: &Measured) -> Vec<String> {
        let about = format!("{} at {}", measured.scenario, measured.target_recall);
        let is_mine = |bound: &&Bound| {
            bound.scenario == measured.scenario && bound.target_recall == measured.target_recall
        };
        let Some(bound) = self.bound.iter().find(is_mine) else { return vec![format!("{about}: no bound")] };
        let checks = [
            ("recall", measured.recall, bound.recall_min, measured.recall >= bound.recall_min),
            (
                "reads per query",
                measured.reads_per_query,
                bound.reads_max,
                measured.reads_per_query <= bound.reads_max,
            ),
            (
                "bytes per query",
                measured.bytes_per_query,
                bound.bytes_max,
                measured.bytes_per_query <= bound.bytes_max,
            ),
        ];
        let failed = checks.into_iter().filter(|(.., good)| !good);
        failed
            .map(|(what, found, limit, _)| format!("{about}: {what} {found:.4}, bound {limit:.4}"))
            .collect()
    }
}

impl Bound {
    /// The bound for what was just measured, with the usual margins.
    pub fn around(measured: &Measured) -> Self {
        let at_least = |value: f64, digits: f64| (value * COST_MARGIN * digits).ceil() / digits;
        Self {
            scenario: measured.scenario.clone(),
            target_recall: measured.target_recall,
            recall_min: ((measured.recall - RECALL_MARGIN) * 1e4).floor() / 1e4,
            reads_max: at_least(measured.reads_per_query, 10.0),
            bytes_max: at_least(measured.bytes_per_query, 1.0),
        }
    }

    /// The bound as it stands in the file.
    pub fn to_toml(&self) -> String {
        format!(
            "[[bound]]\nscenario = \"{}\"\ntarget_recall = {}\nrecall_min = {}\nreads_max = {:.1}\nbytes_max = {:.1}\n",
            self.scenario, self.target_recall, self.recall_min, self.reads_max, self.bytes_max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(recall: f64, reads: f64, bytes: f64) -> Measured {
        Measured {
            scenario: "a".into(),
            target_recall: 0.95,
            recall,
            lists_per_query: reads,
            reads_per_query: reads,
            bytes_per_query: bytes,
            mean_us: 1e9,
            p50_us: 1e9,
            p99_us: 1e9,
            build_seconds: 1e9,
            disk_bytes: 1,
        }
    }

    #[test]
    fn bounds_survive_their_file_and_hold_what_they_were_made_from() {
        let good = measured(0.956, 20.5, 81_920.0);
        let bounds: Tolerances = toml::from_str(&Bound::around(&good).to_toml()).unwrap();
        assert_eq!(bounds.bound, [Bound::around(&good)]);
        assert_eq!(bounds.complaints(&good), Vec::<String>::new());
    }

    #[test]
    fn each_figure_out_of_bounds_is_named() {
        let bounds = Tolerances { bound: vec![Bound::around(&measured(0.956, 20.5, 81_920.0))] };
        assert_eq!(bounds.complaints(&measured(0.950, 20.5, 81_920.0)).len(), 1);
        assert_eq!(bounds.complaints(&measured(0.956, 23.0, 81_920.0)).len(), 1);
        assert_eq!(bounds.complaints(&measured(0.10, 99.0, 99_999.0)).len(), 3);
        assert_eq!(Tolerances::default().complaints(&measured(1.0, 0.0, 0.0)).len(), 1);
    }
}
