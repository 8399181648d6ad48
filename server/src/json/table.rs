//! Embedding tables: how they are asked for, written to and read.

use nearline::TableStats;
use nearline::embedding::{DIM_MAX, Dynamic, DynamicRules, Method, Pool, Rule};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ApiError;

/// A table to be trained.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct TableIn {
    pub(crate) method: String,
    /// Where ids are counted.
    #[serde(default)]
    pub(crate) rows: u64,
    pub(crate) dim: usize,
    pub(crate) budget: u64,
    #[serde(default = "usual_scale")]
    pub(crate) scale: f32,
    #[serde(default)]
    pub(crate) seed: u64,
    pub(crate) optimizer: RuleIn,
    /// Where ids come and go.
    #[serde(default = "usual_admission")]
    pub(crate) admit_after: u32,
    #[serde(default)]
    pub(crate) expire_writes: u64,
    #[serde(default)]
    pub(crate) expire_seconds: u64,
}

impl TableIn {
    /// A table whose ids come and go, with as many rows as the budget allows.
    pub(crate) fn dynamic(&self) -> Result<Dynamic, ApiError> {
        let rule = Rule::from(self.optimizer);
        if !(1..=DIM_MAX).contains(&self.dim) {
            let found = self.dim;
            return Err(ApiError::wrong_input(format_args!("dim: {found}; expected 1 to {DIM_MAX}")));
        }
        let each = Dynamic::row_bytes(self.dim, rule);
        let rows_max = (self.budget / each).min(u64::from(u32::MAX));
        if rows_max == 0 {
            let (found, dim) = (self.budget, self.dim);
            return Err(ApiError::wrong_input(format_args!(
                "budget: {found} bytes; expected at least {each}, for one row of {dim}"
            )));
        }
        let Self { admit_after, expire_writes, expire_seconds, .. } = *self;
        let rules = DynamicRules { admit_after, expire_writes, expire_seconds, rows_max };
        Ok(Dynamic::new(vec![0.0; self.dim], rules, rule)?)
    }
}

fn usual_admission() -> u32 {
    1
}

fn usual_scale() -> f32 {
    0.01
}

/// How parameters move.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "lowercase")]
pub(crate) enum RuleIn {
    Sgd {
        rate: f32,
    },
    Adagrad {
        rate: f32,
        #[serde(default = "usual_epsilon")]
        epsilon: f32,
    },
    Adam {
        rate: f32,
        #[serde(default = "usual_beta1")]
        beta1: f32,
        #[serde(default = "usual_beta2")]
        beta2: f32,
        #[serde(default = "usual_epsilon")]
        epsilon: f32,
    },
}

fn usual_epsilon() -> f32 {
    1e-8
}

fn usual_beta1() -> f32 {
    0.9
}

fn usual_beta2() -> f32 {
    0.999
}

impl From<RuleIn> for Rule {
    fn from(rule: RuleIn) -> Self {
        match rule {
            RuleIn::Sgd { rate } => Self::Sgd { rate },
            RuleIn::Adagrad { rate, epsilon } => Self::Adagrad { rate, epsilon },
            RuleIn::Adam { rate, beta1, beta2, epsilon } => Self::Adam { rate, beta1, beta2, epsilon },
        }
    }
}

/// The method of a name, one of those that can be asked for here.
pub(crate) fn method(name: &str, of: &[Method]) -> Result<Method, ApiError> {
    Method::from_name(name).filter(|method| of.contains(method)).ok_or_else(|| {
        let names: Vec<&str> = of.iter().map(|method| method.name()).collect();
        ApiError::wrong_input(format_args!("method: {name:?}; expected one of {}", names.join(", ")))
    })
}

/// Rows to fit a table to.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct FitIn {
    pub(crate) rows: Vec<Vec<f32>>,
    pub(crate) method: String,
    pub(crate) budget: u64,
    pub(crate) frequencies: Option<Vec<u64>>,
    /// Whether the most frequent rows lie first.
    #[serde(default)]
    pub(crate) by_frequency: bool,
    #[serde(default)]
    pub(crate) fields: Vec<u64>,
    #[serde(default)]
    pub(crate) seed: u64,
}

/// Rows that are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct LookupIn {
    pub(crate) ids: Vec<u64>,
    pub(crate) version: Option<u64>,
}

/// Bags of ids.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct PoolIn {
    pub(crate) ids: Vec<u64>,
    pub(crate) offsets: Vec<u64>,
    pub(crate) weights: Option<Vec<f32>>,
    #[serde(default)]
    pub(crate) pool: PoolName,
    pub(crate) version: Option<u64>,
}

/// What becomes of a bag.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PoolName {
    #[default]
    Sum,
    Mean,
}

impl From<PoolName> for Pool {
    fn from(name: PoolName) -> Self {
        match name {
            PoolName::Sum => Self::Sum,
            PoolName::Mean => Self::Mean,
        }
    }
}

/// Products that are asked for.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DotIn {
    pub(crate) query: Vec<f32>,
    pub(crate) ids: Vec<u64>,
    pub(crate) version: Option<u64>,
}

/// Gradients of rows.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct GradientsIn {
    pub(crate) ids: Vec<u64>,
    pub(crate) gradients: Vec<Vec<f32>>,
}

/// Rows to be written.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct RowsIn {
    pub(crate) ids: Vec<u64>,
    pub(crate) rows: Vec<Vec<f32>>,
}

/// What a table is and has.
pub(crate) fn table_out(stats: &TableStats, pins: &[u64]) -> Value {
    let segments: serde_json::Map<String, Value> =
        stats.segments.iter().map(|(name, bytes)| (name.clone(), (*bytes).into())).collect();
    json!({
        "method": stats.method.name(),
        "params": stats.params,
        "rows": stats.rows,
        "dim": stats.dim,
        "version": stats.version,
        "pinned": pins,
        "segments": segments,
        "bytes": stats.segments.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        "plain_bytes": stats.rows.saturating_mul(stats.dim as u64 * 4),
        "resident_rows": stats.resident_rows,
        "changed_rows": stats.changed_rows,
        "file_bytes": stats.file_bytes,
        "log_bytes": stats.log_bytes,
        "reads": stats.reads,
        "read_bytes": stats.read_bytes,
        "failure": stats.compact_error,
    })
}
