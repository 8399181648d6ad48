//! Collections: how they are asked for, and how they describe themselves.
//!
//! Much of the dialect's configuration is about graphs and shards, which there are none of here. It is checked, kept with the
//! collection and shown again, because clients expect to find it.

mod info;
mod settings;

use std::collections::BTreeMap;

use nearline::{ElementType, Metric, Payload, Schema, VectorConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::json::shape::Object;

pub(crate) use info::info;
pub(crate) use settings::Settings;

/// A collection to be made.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CreateIn {
    vectors: Option<VectorsIn>,
    sparse_vectors: Option<Map<String, Value>>,
    shard_number: Option<u32>,
    sharding_method: Option<String>,
    replication_factor: Option<u32>,
    write_consistency_factor: Option<u32>,
    on_disk_payload: Option<bool>,
    wal_config: Option<WalIn>,
    #[schemars(skip)]
    init_from: Option<Value>,
    #[serde(flatten)]
    common: CommonIn,
}

/// What is said of a collection when it is made, and when it is changed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct CommonIn {
    hnsw_config: Option<HnswIn>,
    optimizers_config: Option<OptimizersIn>,
    quantization_config: Option<Value>,
    strict_mode_config: Option<Map<String, Value>>,
    #[schemars(with = "Option<Object>")]
    metadata: Option<Payload>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected {size, distance: Cosine, Dot, Euclid or Manhattan, …}, or an object of such by name"
)]
enum VectorsIn {
    One(Box<VectorIn>),
    Named(BTreeMap<String, VectorIn>),
}

#[derive(Debug, Deserialize, JsonSchema)]
struct VectorIn {
    size: u64,
    distance: Distance,
    datatype: Option<Datatype>,
    on_disk: Option<bool>,
    hnsw_config: Option<HnswIn>,
    quantization_config: Option<Value>,
    #[schemars(skip)]
    multivector_config: Option<Value>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
enum Distance {
    Cosine,
    Euclid,
    Dot,
    Manhattan,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Datatype {
    Float32,
    Float16,
    Uint8,
    Turbo4,
}

/// Options of a graph.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct HnswIn {
    m: Option<u64>,
    ef_construct: Option<u64>,
    full_scan_threshold: Option<u64>,
    max_indexing_threads: Option<u64>,
    on_disk: Option<bool>,
    payload_m: Option<u64>,
    inline_storage: Option<bool>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct WalIn {
    wal_capacity_mb: Option<u64>,
    wal_segments_ahead: Option<u64>,
    wal_retain_closed: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct OptimizersIn {
    deleted_threshold: Option<f64>,
    vacuum_min_vector_number: Option<u64>,
    default_segment_number: Option<u64>,
    max_segment_size: Option<u64>,
    memmap_threshold: Option<u64>,
    indexing_threshold: Option<u64>,
    flush_interval_sec: Option<u64>,
    max_optimization_threads: Option<Threads>,
    prevent_unoptimized: Option<bool>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a count or \"auto\"")]
enum Threads {
    Count(u64),
    Auto(Auto),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

/// A collection to be changed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct UpdateIn {
    vectors: Option<BTreeMap<String, VectorDiffIn>>,
    params: Option<ParamsDiffIn>,
    sparse_vectors: Option<Map<String, Value>>,
    #[serde(flatten)]
    common: CommonIn,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct VectorDiffIn {
    hnsw_config: Option<HnswIn>,
    quantization_config: Option<Value>,
    on_disk: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct ParamsDiffIn {
    replication_factor: Option<u32>,
    write_consistency_factor: Option<u32>,
    read_fan_out_factor: Option<u32>,
    read_fan_out_delay_ms: Option<u64>,
    on_disk_payload: Option<bool>,
}

impl CreateIn {
    /// What the library needs of it.
    pub(crate) fn schema(&self) -> Result<Schema, ApiError> {
        if self.sparse_vectors.as_ref().is_some_and(|sparse| !sparse.is_empty()) {
            return Err(ApiError::unsupported("sparse_vectors"));
        }
        if self.sharding_method.as_deref().is_some_and(|method| method != "auto") {
            return Err(ApiError::unsupported("sharding by keys of one's own"));
        }
        if self.init_from.is_some() {
            return Err(ApiError::unsupported("init_from"));
        }
        let counts = [
            ("shard_number", self.shard_number),
            ("replication_factor", self.replication_factor),
            ("write_consistency_factor", self.write_consistency_factor),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == Some(0)) {
            return Err(ApiError::invalid(name, 0, "must be 1 or larger"));
        }
        match &self.vectors {
            None => Ok(Schema::new()),
            Some(VectorsIn::One(vector)) => Ok(Schema::new().vector("", vector.config("vectors")?)),
            Some(VectorsIn::Named(named)) => {
                named.iter().try_fold(Schema::new(), |schema, (name, vector)| {
                    Ok(schema.vector(name, vector.config(name)?))
                })
            }
        }
    }

    /// What is kept to be shown again.
    pub(crate) fn kept(&self) -> Result<Settings, ApiError> {
        let mut settings = Settings::default();
        settings.merge(
            "params",
            &json!({
                "shard_number": self.shard_number,
                "replication_factor": self.replication_factor,
                "write_consistency_factor": self.write_consistency_factor,
                "on_disk_payload": self.on_disk_payload,
            }),
        );
        settings.merge_some("wal_config", self.wal_config.as_ref());
        self.common.keep(&mut settings)?;
        let named: Vec<(&str, &VectorIn)> = match &self.vectors {
            None => Vec::new(),
            Some(VectorsIn::One(vector)) => vec![("", vector)],
            Some(VectorsIn::Named(named)) => {
                named.iter().map(|(name, vector)| (name.as_str(), vector)).collect()
            }
        };
        for (name, vector) in named {
            check_hnsw(vector.hnsw_config.as_ref())?;
            check_quantization(vector.quantization_config.as_ref())?;
            settings.merge_vector(
                name,
                &json!({
                    "on_disk": vector.on_disk,
                    "hnsw_config": vector.hnsw_config,
                    "quantization_config": vector.quantization_config,
                    "datatype": vector.datatype,
                }),
            );
        }
        Ok(settings)
    }
}

impl VectorIn {
    fn config(&self, name: &str) -> Result<VectorConfig, ApiError> {
        if self.multivector_config.is_some() {
            return Err(ApiError::unsupported("multivector_config"));
        }
        let most = nearline::DIM_MAX;
        let size = usize::try_from(self.size).ok().filter(|size| (1..=most).contains(size));
        let expected = || format!("must be from 1 to {most}");
        let size = size.ok_or_else(|| ApiError::invalid(&format!("{name}.size"), self.size, &expected()))?;
        let metric = match self.distance {
            Distance::Cosine => Metric::Cosine,
            Distance::Euclid => Metric::L2,
            Distance::Dot => Metric::InnerProduct,
            Distance::Manhattan => Metric::Manhattan,
        };
        let element = match self.datatype {
            None | Some(Datatype::Float32) => ElementType::F32,
            Some(Datatype::Float16) => ElementType::F16,
            Some(Datatype::Uint8) => ElementType::U8,
            Some(Datatype::Turbo4) => return Err(ApiError::unsupported("datatype turbo4")),
        };
        Ok(VectorConfig::new(size, metric).element(element))
    }
}

fn check_hnsw(hnsw: Option<&HnswIn>) -> Result<(), ApiError> {
    let Some(hnsw) = hnsw else { return Ok(()) };
    let least = [
        ("hnsw_config.ef_construct", hnsw.ef_construct, 4),
        ("hnsw_config.full_scan_threshold", hnsw.full_scan_threshold, 10),
    ];
    match least.into_iter().find(|(_, value, least)| value.is_some_and(|value| value < *least)) {
        Some((name, value, least)) => {
            let value = value.unwrap_or_default();
            Err(ApiError::invalid(name, value, &format!("must be {least} or larger")))
        }
        None => Ok(()),
    }
}

fn check_quantization(config: Option<&Value>) -> Result<(), ApiError> {
    let is_known = |config: &Value| {
        let kinds = ["scalar", "product", "binary", "turbo"];
        config == "Disabled" || kinds.iter().any(|kind| config.get(kind).is_some_and(Value::is_object))
    };
    match config {
        Some(config) if !is_known(config) => Err(ApiError::bad_request(
            "quantization_config: expected {scalar: …}, {product: …}, {binary: …} or {turbo: …}",
        )),
        _ => Ok(()),
    }
}

impl CommonIn {
    /// Checks it and takes it into what is kept.
    fn keep(&self, settings: &mut Settings) -> Result<(), ApiError> {
        check_hnsw(self.hnsw_config.as_ref())?;
        check_quantization(self.quantization_config.as_ref())?;
        settings.merge_some("hnsw_config", self.hnsw_config.as_ref());
        settings.merge_some("optimizer_config", self.optimizers_config.as_ref());
        settings.replace("quantization_config", self.quantization_config.as_ref());
        settings.merge_some("strict_mode_config", self.strict_mode_config.as_ref());
        settings.merge_some("metadata", self.metadata.as_ref());
        Ok(())
    }
}

impl UpdateIn {
    /// Takes the changes into what is kept.
    pub(crate) fn apply(&self, settings: &mut Settings, schema: &Schema) -> Result<(), ApiError> {
        if self.sparse_vectors.as_ref().is_some_and(|sparse| !sparse.is_empty()) {
            return Err(ApiError::unsupported("sparse_vectors"));
        }
        for (name, diff) in self.vectors.iter().flatten() {
            if super::vector::config_of(schema, name).is_none() {
                return Err(ApiError::no_vector(name));
            }
            check_hnsw(diff.hnsw_config.as_ref())?;
            check_quantization(diff.quantization_config.as_ref())?;
            settings.merge_vector(
                name,
                &json!({
                    "on_disk": diff.on_disk,
                    "hnsw_config": diff.hnsw_config,
                    "quantization_config": diff.quantization_config,
                }),
            );
        }
        settings.merge_some("params", self.params.as_ref());
        self.common.keep(settings)
    }
}
