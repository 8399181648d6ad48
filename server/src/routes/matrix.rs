//! Distances among some points taken by chance.

use axum::routing::MethodFilter;
use nearline::{MATRIX_SAMPLE_MAX, Matrix, MatrixAnswer, PointId};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Call, read};
use crate::error::ApiError;
use crate::json::filter::FilterIn;
use crate::json::no_shards;
use crate::json::shape::Id;
use crate::json::vector::config_of;
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    let path = |rest: &str| format!("/collections/{{collection}}/points/search/matrix/{rest}");
    Routes::new()
        .route(path("pairs"), read(MethodFilter::POST, pairs).says("Distances among points taken by chance"))
        .route(
            path("offsets"),
            read(MethodFilter::POST, offsets).says("The same, as a sparse matrix with offsets"),
        )
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct MatrixIn {
    filter: Option<FilterIn>,
    sample: Option<usize>,
    limit: Option<usize>,
    using: Option<String>,
    #[schemars(with = "Option<serde_json::Value>")]
    shard_key: Option<IgnoredAny>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PairsOut {
    pairs: Vec<PairOut>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct PairOut {
    #[schemars(with = "Id")]
    a: PointId,
    #[schemars(with = "Id")]
    b: PointId,
    score: f32,
}

/// The same pairs, as places in the list of ids.
#[derive(Debug, Serialize, JsonSchema)]
struct OffsetsOut {
    offsets_row: Vec<usize>,
    offsets_col: Vec<usize>,
    scores: Vec<f32>,
    #[schemars(with = "Vec<Id>")]
    ids: Vec<PointId>,
}

fn pairs(call: &Call, request: MatrixIn) -> Answer<PairsOut> {
    let MatrixAnswer { ids, neighbors, .. } = matrix(call, request)?;
    let of_row = |(row, near): (&PointId, Vec<(usize, f32)>)| {
        let pair = |(other, score): (usize, f32)| PairOut { a: *row, b: ids[other], score };
        near.into_iter().map(pair).collect::<Vec<_>>()
    };
    Ok(PairsOut { pairs: ids.iter().zip(neighbors).flat_map(of_row).collect() }.into())
}

fn offsets(call: &Call, request: MatrixIn) -> Answer<OffsetsOut> {
    let MatrixAnswer { ids, neighbors, .. } = matrix(call, request)?;
    let (mut offsets_row, mut offsets_col, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for (row, near) in neighbors.into_iter().enumerate() {
        for (other, score) in near {
            offsets_row.push(row);
            offsets_col.push(other);
            scores.push(score);
        }
    }
    Ok(OffsetsOut { offsets_row, offsets_col, scores, ids }.into())
}

fn matrix(call: &Call, request: MatrixIn) -> Result<MatrixAnswer, ApiError> {
    no_shards(&request.shard_key)?;
    let collection = call.source()?;
    let using = request.using.unwrap_or_default();
    if config_of(collection.schema(), &using).is_none() {
        return Err(ApiError::no_vector(&using));
    }
    let mut matrix = Matrix::new().using(using);
    if let Some(sample) = request.sample {
        if !(2..=MATRIX_SAMPLE_MAX).contains(&sample) {
            let expected = format!("must be from 2 to {MATRIX_SAMPLE_MAX}");
            return Err(ApiError::invalid("sample", sample, &expected));
        }
        matrix = matrix.sample(sample);
    }
    if let Some(limit) = request.limit {
        if limit == 0 {
            return Err(ApiError::invalid("limit", 0, "must be 1 or larger"));
        }
        matrix = matrix.limit(limit);
    }
    if let Some(filter) = request.filter.map(FilterIn::read).transpose()? {
        matrix = matrix.filter(filter);
    }
    Ok(collection.matrix(&matrix)?)
}
