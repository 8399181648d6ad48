//! Behaviour spaces: how they are asked for, written to and read.

use nearline::sdim::Normalize;
use nearline::{Behavior, BehaviorOptions, BehaviorReport, Candidates, SourceOffset, Span};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ApiError;

/// A space to be made.
#[derive(Debug, Deserialize)]
pub(crate) struct SpaceIn {
    dim: usize,
    #[serde(default = "usual_groups")]
    groups: usize,
    #[serde(default = "usual_bits")]
    bits: usize,
    seed: Option<u64>,
    /// `[hash][dimension]`, back to back.
    projections: Option<Vec<f32>>,
    /// `[dimension][group][bit]`, back to back.
    rotations: Option<Vec<f32>>,
    #[serde(default)]
    normalize: NormalizeIn,
    #[serde(default)]
    ttl_ms: u64,
    #[serde(default)]
    embedding_version: String,
}

fn usual_groups() -> usize {
    16
}

fn usual_bits() -> usize {
    3
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NormalizeIn {
    None,
    #[default]
    L2,
    Count,
}

impl SpaceIn {
    pub(crate) fn options(self) -> Result<BehaviorOptions, ApiError> {
        let options = BehaviorOptions::new(self.dim)
            .hashes(self.groups, self.bits)
            .normalize(match self.normalize {
                NormalizeIn::None => Normalize::None,
                NormalizeIn::L2 => Normalize::L2,
                NormalizeIn::Count => Normalize::Count,
            })
            .ttl_ms(self.ttl_ms)
            .embedding_version(self.embedding_version);
        match (self.seed, self.projections, self.rotations) {
            (seed, None, None) => Ok(options.seed(seed.unwrap_or(0))),
            (None, Some(projections), None) => Ok(options.projections(projections)),
            (None, None, Some(rotations)) => Ok(options.rotations(rotations)),
            _ => Err(ApiError::wrong_input("expected one of seed, projections and rotations")),
        }
    }
}

/// Items to be put.
#[derive(Debug, Deserialize)]
pub(crate) struct ItemsIn {
    pub(crate) items: Vec<u64>,
    pub(crate) vectors: Vec<Vec<f32>>,
}

/// Behaviours to be added.
#[derive(Debug, Deserialize)]
pub(crate) struct AppendIn {
    behaviors: Vec<BehaviorJson>,
    #[serde(flatten)]
    source: SourceIn,
}

/// Where behaviours come from, if they shall count once.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SourceIn {
    source: Option<String>,
    partition: Option<u32>,
    offset: Option<u64>,
}

impl SourceIn {
    pub(crate) fn new(source: Option<String>, partition: Option<u32>, offset: Option<u64>) -> Self {
        Self { source, partition, offset }
    }

    pub(crate) fn offset(self) -> Result<Option<SourceOffset>, ApiError> {
        match (self.source, self.partition, self.offset) {
            (None, None, None) => Ok(None),
            (Some(source), partition, Some(offset)) => {
                Ok(Some(SourceOffset { source, partition: partition.unwrap_or(0), offset }))
            }
            _ => Err(ApiError::wrong_input("expected source and offset together, with partition or not")),
        }
    }
}

impl AppendIn {
    pub(crate) fn parts(self) -> Result<(Vec<Behavior>, Option<SourceOffset>), ApiError> {
        let behaviors = self.behaviors.into_iter().map(Behavior::from).collect();
        Ok((behaviors, self.source.offset()?))
    }
}

/// A behaviour.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct BehaviorJson {
    user: u64,
    event: u64,
    time: i64,
    item: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
}

impl From<BehaviorJson> for Behavior {
    fn from(BehaviorJson { user, event, time, item, vector }: BehaviorJson) -> Self {
        Self { user, event, time, item, vector }
    }
}

impl From<Behavior> for BehaviorJson {
    fn from(Behavior { user, event, time, item, vector }: Behavior) -> Self {
        Self { user, event, time, item, vector }
    }
}

/// What a write did.
#[derive(Debug, Serialize)]
pub(crate) struct WrittenOut {
    appended: usize,
    duplicates: usize,
    deleted: usize,
    items: usize,
    is_repeated: bool,
}

impl From<BehaviorReport> for WrittenOut {
    fn from(report: BehaviorReport) -> Self {
        let BehaviorReport { appended, duplicates, deleted, items, is_repeated, .. } = report;
        Self { appended, duplicates, deleted, items, is_repeated }
    }
}

/// What a user is asked about: items, or vectors, back to back.
#[derive(Debug)]
pub(crate) enum Wanted {
    Items(Vec<u64>),
    Vectors(Vec<f32>),
}

impl Wanted {
    pub(crate) fn as_candidates(&self) -> Candidates<'_> {
        match self {
            Self::Items(items) => Candidates::Items(items),
            Self::Vectors(vectors) => Candidates::Vectors(vectors),
        }
    }

    pub(crate) fn len(&self, dim: usize) -> usize {
        match self {
            Self::Items(items) => items.len(),
            Self::Vectors(vectors) => vectors.len() / dim,
        }
    }
}

/// Candidates of a user.
#[derive(Debug, Deserialize)]
pub(crate) struct CandidatesIn {
    pub(crate) user: u64,
    items: Option<Vec<u64>>,
    vectors: Option<Vec<Vec<f32>>>,
}

impl CandidatesIn {
    pub(crate) fn wanted(self, dim: usize) -> Result<Wanted, ApiError> {
        match (self.items, self.vectors) {
            (Some(items), None) => Ok(Wanted::Items(items)),
            (None, Some(vectors)) => Ok(Wanted::Vectors(flat(&vectors, dim)?)),
            _ => Err(ApiError::wrong_input("expected items or vectors of candidates")),
        }
    }
}

/// Vectors back to back.
pub(crate) fn flat(vectors: &[Vec<f32>], dim: usize) -> Result<Vec<f32>, ApiError> {
    match vectors.iter().position(|vector| vector.len() != dim) {
        None => Ok(vectors.concat()),
        Some(at) => Err(ApiError::wrong_input(format_args!(
            "vector {at} has {} dimensions; expected {dim}",
            vectors[at].len()
        ))),
    }
}

/// Interest of several users.
#[derive(Debug, Deserialize)]
pub(crate) struct InterestIn {
    pub(crate) queries: Vec<CandidatesIn>,
    pub(crate) at: Option<i64>,
}

/// The same, of one user.
#[derive(Debug, Deserialize)]
pub(crate) struct AttentionIn {
    #[serde(flatten)]
    pub(crate) query: CandidatesIn,
    #[serde(default = "usual_scale")]
    pub(crate) scale: f32,
    pub(crate) at: Option<i64>,
}

fn usual_scale() -> f32 {
    1.0
}

/// Behaviours like candidates.
#[derive(Debug, Deserialize)]
pub(crate) struct HammingIn {
    #[serde(flatten)]
    pub(crate) query: CandidatesIn,
    #[serde(default = "usual_count")]
    pub(crate) k: usize,
    pub(crate) at: Option<i64>,
}

fn usual_count() -> usize {
    50
}

/// Tables of users.
#[derive(Debug, Deserialize)]
pub(crate) struct TablesIn {
    pub(crate) users: Vec<u64>,
    pub(crate) at: Option<i64>,
}

/// Behaviours of a user.
#[derive(Debug, Deserialize)]
pub(crate) struct BehaviorsIn {
    pub(crate) user: u64,
    last: Option<usize>,
    from: Option<i64>,
    to: Option<i64>,
    pub(crate) at: Option<i64>,
}

impl BehaviorsIn {
    pub(crate) fn span(&self) -> Result<Span, ApiError> {
        match (self.last, self.from, self.to) {
            (last, None, None) => Ok(Span::Last(last.unwrap_or(usual_count()))),
            (None, from, to) => {
                Ok(Span::Between { from: from.unwrap_or(i64::MIN), to: to.unwrap_or(i64::MAX) })
            }
            _ => Err(ApiError::wrong_input("expected last, or from and to")),
        }
    }
}

/// Behaviours of a user that shall go: some events, or those before a time.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteIn {
    pub(crate) user: u64,
    pub(crate) events: Option<Vec<u64>>,
    pub(crate) before: Option<i64>,
}

/// All that shall go but the last ones.
#[derive(Debug, Deserialize)]
pub(crate) struct TruncateIn {
    pub(crate) user: u64,
    pub(crate) keep: u64,
}

/// What a space is and has.
pub(crate) fn space_out(stats: &nearline::BehaviorStats) -> Value {
    let shape = stats.shape;
    json!({
        "dim": shape.dim(),
        "groups": shape.groups(),
        "bits": shape.bits(),
        "normalize": format!("{:?}", stats.normalize).to_lowercase(),
        "ttl_ms": stats.ttl_ms,
        "embedding_version": stats.embedding_version,
        "lsn": stats.lsn,
        "users_in_memory": stats.users_in_memory,
        "memory_bytes": stats.memory_bytes,
        "kept_bytes": stats.kept_bytes.iter().sum::<usize>(),
        "files": stats.files,
        "file_bytes": stats.file_bytes,
        "log_bytes": stats.log_bytes,
        "sources": stats.sources,
        "failure": stats.checkpoint_error,
    })
}
