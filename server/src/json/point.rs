//! Points as they are written, and as they are handed out.

use std::collections::BTreeMap;

use nearline::{Filter, Payload, Point, PointId, Schema, Selector, UpdateMode, Value, Vector};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::filter::FilterIn;
use super::no_shards;
use super::payload::{WithPayload, WithVector};
use super::vector::{Dense, Vectors, VectorsOut, prepared};
use crate::error::ApiError;
use crate::json::shape::{Id, Object};

/// Points to be written: as a list, or column by column.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct UpsertIn {
    points: Option<Vec<PointIn>>,
    batch: Option<BatchIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
    update_filter: Option<FilterIn>,
    update_mode: Option<ModeIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct PointIn {
    #[schemars(with = "Id")]
    id: PointId,
    vector: Vectors,
    #[schemars(with = "Option<Object>")]
    payload: Option<Payload>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct BatchIn {
    #[schemars(with = "Vec<Id>")]
    ids: Vec<PointId>,
    vectors: Columns,
    #[schemars(with = "Option<Vec<Option<Object>>>")]
    payloads: Option<Vec<Option<Payload>>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected lists of numbers, or an object of such lists by name")]
enum Columns {
    One(Vec<Dense>),
    Named(BTreeMap<String, Vec<Dense>>),
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ModeIn {
    Upsert,
    InsertOnly,
    UpdateOnly,
}

impl From<ModeIn> for UpdateMode {
    fn from(mode: ModeIn) -> Self {
        match mode {
            ModeIn::Upsert => Self::Upsert,
            ModeIn::InsertOnly => Self::InsertOnly,
            ModeIn::UpdateOnly => Self::UpdateOnly,
        }
    }
}

/// Points ready to be written, and which of them are.
#[derive(Debug)]
pub(crate) struct Upsert {
    pub(crate) points: Vec<Point>,
    pub(crate) mode: UpdateMode,
    pub(crate) filter: Option<Filter>,
}

impl UpsertIn {
    /// The points, ready to be written.
    pub(crate) fn read(self, schema: &Schema) -> Result<Upsert, ApiError> {
        no_shards(&self.shard_key)?;
        let points = match (self.points, self.batch) {
            (Some(points), None) => points.into_iter().map(|point| point.read(schema)).collect(),
            (None, Some(batch)) => batch.read(schema)?,
            _ => return Err(ApiError::bad_request("expected `points` or `batch`, and not both")),
        };
        let filter = self.update_filter.map(FilterIn::read).transpose()?;
        Ok(Upsert { points, mode: self.update_mode.map(UpdateMode::from).unwrap_or_default(), filter })
    }
}

impl PointIn {
    fn read(self, schema: &Schema) -> Point {
        let mut point = Point::new(self.id).payload(self.payload.unwrap_or_default());
        point.vectors = self.vector.prepared(schema);
        point
    }
}

impl BatchIn {
    fn read(self, schema: &Schema) -> Result<Vec<Point>, ApiError> {
        let mut points: Vec<Point> = self.ids.into_iter().map(Point::new).collect();
        let same = |what: &str, found: usize| match found == points.len() {
            true => Ok(()),
            false => {
                Err(ApiError::invalid(what, found, &format!("must be as many as ids ({})", points.len())))
            }
        };
        if let Some(payloads) = &self.payloads {
            same("payloads", payloads.len())?;
        }
        let columns = match self.vectors {
            Columns::One(vectors) => BTreeMap::from([(String::new(), vectors)]),
            Columns::Named(named) => named,
        };
        for vectors in columns.values() {
            same("vectors", vectors.len())?;
        }
        for (name, vectors) in columns {
            for (point, vector) in points.iter_mut().zip(vectors) {
                point.vectors.insert(name.clone(), prepared(vector, schema, &name));
            }
        }
        for (point, payload) in points.iter_mut().zip(self.payloads.into_iter().flatten()) {
            point.payload = payload.unwrap_or_default();
        }
        Ok(points)
    }
}

/// Which points are meant.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SelectorIn {
    #[schemars(with = "Option<Vec<Id>>")]
    points: Option<Vec<PointId>>,
    filter: Option<FilterIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

impl SelectorIn {
    /// The points, by their ids if there are some.
    pub(crate) fn read(self) -> Result<Selector, ApiError> {
        no_shards(&self.shard_key)?;
        match (self.points, self.filter) {
            (Some(ids), _) => Ok(Selector::Ids(ids)),
            (None, Some(filter)) => Ok(Selector::Filter(filter.read()?)),
            _ => Err(ApiError::bad_request("expected `points` or `filter`")),
        }
    }
}

/// A payload, and the points that get it.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SetPayloadIn {
    #[schemars(with = "Object")]
    pub(crate) payload: Payload,
    pub(crate) key: Option<String>,
    #[serde(flatten)]
    pub(crate) selector: SelectorIn,
}

/// Paths in payloads, and the points that lose what lies there.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DeletePayloadIn {
    pub(crate) keys: Vec<String>,
    #[serde(flatten)]
    pub(crate) selector: SelectorIn,
}

/// Names of vectors, and the points that lose them.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct DeleteVectorsIn {
    pub(crate) vector: Vec<String>,
    #[serde(flatten)]
    pub(crate) selector: SelectorIn,
}

/// Vectors by name, ready to be written.
pub(crate) type NamedVectors = BTreeMap<String, Vector>;

/// Vectors of points to be replaced.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct UpdateVectorsIn {
    points: Vec<PointVectorsIn>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
    update_filter: Option<FilterIn>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct PointVectorsIn {
    #[schemars(with = "Id")]
    id: PointId,
    vector: Vectors,
}

impl UpdateVectorsIn {
    /// Ids and their vectors, ready to be written, and which of the points get them.
    pub(crate) fn read(self, schema: &Schema) -> Result<UpdateVectors, ApiError> {
        no_shards(&self.shard_key)?;
        let filter = self.update_filter.map(FilterIn::read).transpose()?;
        let points = self.points.into_iter().map(|point| (point.id, point.vector.prepared(schema)));
        Ok(UpdateVectors { points: points.collect(), filter })
    }
}

/// Vectors of points ready to be written.
#[derive(Debug)]
pub(crate) struct UpdateVectors {
    pub(crate) points: Vec<(PointId, NamedVectors)>,
    /// What points must be like that get them.
    pub(crate) filter: Option<Filter>,
}

/// A point as it is handed out.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Record {
    #[schemars(with = "Id")]
    id: PointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Object>")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<VectorsOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    order_value: Option<Value>,
}

impl Record {
    /// What is wanted of a point.
    pub(crate) fn new(point: Point, with_payload: &WithPayload, with_vector: &WithVector) -> Self {
        Self {
            id: point.id,
            payload: with_payload.select(point.payload),
            vector: with_vector.select(point.vectors),
            order_value: None,
        }
    }

    /// The same with the value that put it in its place: a number, moments in microseconds since 1970.
    pub(crate) fn ordered_by(mut self, value: Value) -> Self {
        let moment = value.as_str().and_then(nearline::filter::parse_datetime);
        self.order_value = Some(moment.map_or(value, Value::from));
        self
    }
}

/// A point that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Scored {
    version: u64,
    score: f32,
    #[serde(flatten)]
    record: Record,
}

impl Scored {
    /// What is wanted of a point that was found.
    pub(crate) fn new(
        hit: nearline::ScoredPoint,
        with_payload: &WithPayload,
        with_vector: &WithVector,
    ) -> Self {
        let record = Record {
            id: hit.id,
            payload: hit.payload.and_then(|payload| with_payload.select(payload)),
            vector: hit.vectors.and_then(|vectors| with_vector.select(vectors)),
            order_value: None,
        };
        let record = match hit.order_value {
            Some(value) => record.ordered_by(value),
            None => record,
        };
        Self { version: 0, score: finite(hit.score), record }
    }
}

/// A score as JSON can have it: one beyond what 32 bits hold is the largest or the least that they do.
pub(crate) fn finite(score: f32) -> f32 {
    score.clamp(f32::MIN, f32::MAX)
}
