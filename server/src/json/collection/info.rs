//! Collections as they describe themselves.

use nearline::{Collection, ElementType, Metric, Schema, Stats};
use serde_json::{Map, Value, json};

use super::super::index::described;
use super::Distance;
use super::settings::{Settings, merge};
use crate::error::ApiError;

/// Vectors of which there are so many get an index: as the library has it.
const INDEXING_THRESHOLD: u64 = 20_000;

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
