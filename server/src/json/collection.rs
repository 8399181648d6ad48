//! Collections: how they are asked for, and how they describe themselves.
//!
//! Much of the dialect's configuration is about graphs and shards, which there are none of here. It is checked, kept with the
//! collection and shown again, because clients expect to find it.

use std::collections::BTreeMap;

use nearline::{Collection, ElementType, Metric, Payload, Schema, Stats, VectorConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::index::described;
use crate::error::ApiError;

/// Vectors of which there are so many get an index: as the library has it.
const INDEXING_THRESHOLD: u64 = 20_000;

/// A collection to be made.
#[derive(Debug, Deserialize)]
pub(crate) struct CreateIn {
    vectors: Option<VectorsIn>,
    sparse_vectors: Option<Map<String, Value>>,
    shard_number: Option<u32>,
    sharding_method: Option<String>,
    replication_factor: Option<u32>,
    write_consistency_factor: Option<u32>,
    on_disk_payload: Option<bool>,
    hnsw_config: Option<HnswIn>,
    wal_config: Option<WalIn>,
    optimizers_config: Option<OptimizersIn>,
    quantization_config: Option<Value>,
    strict_mode_config: Option<Map<String, Value>>,
    metadata: Option<Payload>,
    init_from: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected {size, distance, …}, or an object of such by name")]
enum VectorsIn {
    One(Box<VectorIn>),
    Named(BTreeMap<String, VectorIn>),
}

#[derive(Debug, Deserialize)]
struct VectorIn {
    size: u64,
    distance: Distance,
    datatype: Option<Datatype>,
    on_disk: Option<bool>,
    hnsw_config: Option<HnswIn>,
    quantization_config: Option<Value>,
    multivector_config: Option<Value>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Distance {
    Cosine,
    Euclid,
    Dot,
    Manhattan,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Datatype {
    Float32,
    Float16,
    Uint8,
    Turbo4,
}

/// Options of a graph.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct WalIn {
    wal_capacity_mb: Option<u64>,
    wal_segments_ahead: Option<u64>,
    wal_retain_closed: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a count or \"auto\"")]
enum Threads {
    Count(u64),
    Auto(Auto),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auto {
    Auto,
}

/// A collection to be changed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UpdateIn {
    vectors: Option<BTreeMap<String, VectorDiffIn>>,
    params: Option<ParamsDiffIn>,
    hnsw_config: Option<HnswIn>,
    optimizers_config: Option<OptimizersIn>,
    quantization_config: Option<Value>,
    sparse_vectors: Option<Map<String, Value>>,
    strict_mode_config: Option<Map<String, Value>>,
    metadata: Option<Payload>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VectorDiffIn {
    hnsw_config: Option<HnswIn>,
    quantization_config: Option<Value>,
    on_disk: Option<bool>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
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
        check_hnsw(self.hnsw_config.as_ref())?;
        check_quantization(self.quantization_config.as_ref())?;
        let mut settings = Settings(Map::new());
        settings.merge(
            "params",
            &json!({
                "shard_number": self.shard_number,
                "replication_factor": self.replication_factor,
                "write_consistency_factor": self.write_consistency_factor,
                "on_disk_payload": self.on_disk_payload,
            }),
        );
        settings.merge_some("hnsw_config", self.hnsw_config.as_ref());
        settings.merge_some("wal_config", self.wal_config.as_ref());
        settings.merge_some("optimizer_config", self.optimizers_config.as_ref());
        settings.replace("quantization_config", self.quantization_config.as_ref());
        settings.merge_some("strict_mode_config", self.strict_mode_config.as_ref());
        settings.merge_some("metadata", self.metadata.as_ref());
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

impl UpdateIn {
    /// Takes the changes into what is kept.
    pub(crate) fn apply(&self, settings: &mut Settings, schema: &Schema) -> Result<(), ApiError> {
        if self.sparse_vectors.as_ref().is_some_and(|sparse| !sparse.is_empty()) {
            return Err(ApiError::unsupported("sparse_vectors"));
        }
        check_hnsw(self.hnsw_config.as_ref())?;
        check_quantization(self.quantization_config.as_ref())?;
        for (name, diff) in self.vectors.iter().flatten() {
            if super::vector::config_of(schema, name).is_none() {
                return Err(ApiError::wrong_input(format_args!("Not existing vector name error: {name}")));
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
        settings.merge_some("hnsw_config", self.hnsw_config.as_ref());
        settings.merge_some("optimizer_config", self.optimizers_config.as_ref());
        settings.replace("quantization_config", self.quantization_config.as_ref());
        settings.merge_some("strict_mode_config", self.strict_mode_config.as_ref());
        settings.merge_some("metadata", self.metadata.as_ref());
        Ok(())
    }
}

/// What is kept with a collection to be shown again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Map<String, Value>);

/// Under which key it is kept, beside what others may keep there.
const KEY: &str = "http";

impl Settings {
    /// As they are kept.
    pub(crate) fn read(metadata: &Payload) -> Self {
        let kept = metadata.get(KEY).and_then(|kept| serde_json::to_value(kept).ok());
        match kept {
            Some(Value::Object(members)) => Self(members),
            _ => Self::default(),
        }
    }

    /// As they will be kept, under their key.
    pub(crate) fn entry(self) -> Result<(&'static str, nearline::Value), ApiError> {
        let value = serde_json::from_value(Value::Object(self.0)).map_err(ApiError::wrong_input)?;
        Ok((KEY, value))
    }

    fn merge_some<T: Serialize>(&mut self, key: &str, more: Option<&T>) {
        if let Some(more) = more.and_then(|more| serde_json::to_value(more).ok()) {
            self.merge(key, &more);
        }
    }

    /// Members that are not null take the place of those that are there.
    fn merge(&mut self, key: &str, more: &Value) {
        merge(self.0.entry(key).or_insert_with(|| json!({})), more);
    }

    fn merge_vector(&mut self, name: &str, more: &Value) {
        let vectors = self.0.entry("vectors").or_insert_with(|| json!({}));
        let mut vector = vectors.get(name).cloned().unwrap_or_else(|| json!({}));
        let (mut more, quantization) = (more.clone(), more["quantization_config"].clone());
        if !quantization.is_null() {
            // Another kind takes the place of the one that is there.
            let disabled = quantization == "Disabled";
            vector["quantization_config"] = if disabled { Value::Null } else { quantization };
            more["quantization_config"] = Value::Null;
        }
        merge(&mut vector, &more);
        vectors[name] = vector;
    }

    fn replace(&mut self, key: &str, value: Option<&Value>) {
        match value {
            Some(value) if value == "Disabled" => drop(self.0.remove(key)),
            Some(value) => drop(self.0.insert(key.to_owned(), value.clone())),
            None => {}
        }
    }

    /// Defaults, with what is kept in their place.
    fn over(&self, key: &str, usual: Value) -> Value {
        let mut all = usual;
        merge(&mut all, self.0.get(key).unwrap_or(&Value::Null));
        all
    }
}

fn merge(there: &mut Value, more: &Value) {
    let (Value::Object(there), Value::Object(more)) = (there, more) else { return };
    for (key, value) in more.iter().filter(|(_, value)| !value.is_null()) {
        if !value.is_object() {
            there.insert(key.clone(), value.clone());
            continue;
        }
        let before = there.entry(key).or_insert(Value::Null);
        if !before.is_object() {
            *before = json!({});
        }
        merge(before, value);
    }
}

/// A collection as it describes itself.
pub(crate) fn info(collection: &Collection) -> Result<Value, ApiError> {
    let (stats, settings) = (collection.stats(), Settings::read(&collection.metadata()?));
    let fields: Map<String, Value> =
        collection.field_indexes().iter().map(|index| (index.path.clone(), described(index))).collect();
    let (status, optimizers) = match &stats.failure {
        Some(failure) => ("red", json!({ "error": failure })),
        None if collection.is_idle() => ("green", json!("ok")),
        None => ("yellow", json!("ok")),
    };
    Ok(json!({
        "status": status,
        "optimizer_status": optimizers,
        "points_count": stats.points,
        "indexed_vectors_count": stats.indexed,
        "segments_count": stats.segments,
        "config": config(collection.schema(), &settings),
        "payload_schema": fields,
        "update_queue": { "length": 0 },
        "nearline": own(&stats),
    }))
}

fn config(schema: &Schema, settings: &Settings) -> Value {
    let mut params = settings.over(
        "params",
        json!({
            "vectors": {},
            "shard_number": 1,
            "replication_factor": 1,
            "write_consistency_factor": 1,
            "on_disk_payload": true,
        }),
    );
    params["vectors"] = vectors(schema, settings);
    let mut optimizers = settings.over(
        "optimizer_config",
        json!({
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "max_segment_size": null,
            "memmap_threshold": null,
            "indexing_threshold": INDEXING_THRESHOLD,
            "flush_interval_sec": 5,
            "max_optimization_threads": null,
        }),
    );
    if optimizers["max_optimization_threads"] == "auto" {
        optimizers["max_optimization_threads"] = Value::Null;
    }
    let hnsw =
        json!({ "m": 16, "ef_construct": 100, "full_scan_threshold": 10_000, "max_indexing_threads": 0 });
    let wal = json!({ "wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1 });
    let mut config = json!({
        "params": params,
        "hnsw_config": settings.over("hnsw_config", hnsw),
        "optimizer_config": optimizers,
        "wal_config": settings.over("wal_config", wal),
        "quantization_config": settings.0.get("quantization_config"),
    });
    for key in ["strict_mode_config", "metadata"] {
        if let Some(value) = settings.0.get(key) {
            config[key] = value.clone();
        }
    }
    config
}

fn vectors(schema: &Schema, settings: &Settings) -> Value {
    let kept = settings.0.get("vectors").unwrap_or(&Value::Null);
    let mut named = Map::new();
    for (name, config) in schema.vectors() {
        let distance = match config.metric {
            Metric::L2 => Distance::Euclid,
            Metric::InnerProduct => Distance::Dot,
            Metric::Cosine => Distance::Cosine,
            Metric::Manhattan => Distance::Manhattan,
        };
        let mut described = json!({ "size": config.dim, "distance": distance });
        match config.element {
            ElementType::F16 => described["datatype"] = json!("float16"),
            ElementType::U8 => described["datatype"] = json!("uint8"),
            _ => {}
        }
        merge(&mut described, kept.get(name).unwrap_or(&Value::Null));
        named.insert(name.to_owned(), described);
    }
    match (named.len(), named.remove("")) {
        (1, Some(only)) => only,
        (_, Some(unnamed)) => {
            named.insert(String::new(), unnamed);
            Value::Object(named)
        }
        _ => Value::Object(named),
    }
}

/// What the dialect has no words for.
fn own(stats: &Stats) -> Value {
    json!({
        "points_in_memory": stats.points_in_memory,
        "memory_bytes": stats.delta_bytes + stats.ram_bytes,
        "disk_bytes": stats.disk_bytes,
        "wal_bytes": stats.wal_bytes,
        "dead_points": stats.dead_points,
        "vector_indexes": stats.indexes,
        "vectors_not_indexed": stats.not_indexed,
        "indexing_seconds": stats.indexing.map(|us| us as f64 / 1e6),
        "lsn": stats.lsn,
        "flushed_lsn": stats.flushed_lsn,
    })
}
