//! How widely a collection's vector index must be searched, measured with real questions.

use axum::response::Response;
use axum::routing::MethodFilter;
use nearline::{Measured, Vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::binary::dim;
use crate::app::Kind;
use crate::call::{Call, either};
use crate::content::Content;
use crate::error::ApiError;
use crate::json::vector::{Dense, prepared};
use crate::rows::{self, BARE, Ids, NPY};
use crate::table::Routes;

pub(super) fn routes() -> Routes {
    Routes::new().route(
        "/nearline/v1/collections/{collection}/calibrate",
        either::<CalibrateIn, CalibrateOut>(Kind::Slow, MethodFilter::POST, &[BARE, NPY], calibrate)
            .takes::<CalibrateParams>()
            .says(
                "Measures with real questions how widely the vector index must be searched, and keeps them",
            ),
    )
}

/// Questions, what they ask about, and how many neighbours are wanted of each.
#[derive(Debug, Deserialize, JsonSchema)]
struct CalibrateIn {
    queries: Vec<Dense>,
    #[serde(flatten)]
    params: CalibrateParams,
}

/// What goes with questions that are bytes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default)]
struct CalibrateParams {
    using: String,
    limit: usize,
}

impl Default for CalibrateParams {
    fn default() -> Self {
        Self { using: String::new(), limit: 10 }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct CalibrateOut {
    /// Questions that are kept.
    queries: usize,
    limit: usize,
    /// Nothing where there is no vector index yet.
    targets: Vec<TargetOut>,
}

/// What was found for one recall: means over the questions.
#[derive(Debug, Serialize, JsonSchema)]
struct TargetOut {
    target_recall: f32,
    recall_before: f64,
    lists_before: f64,
    factor: f32,
    recall: f64,
    recall_at_least: f64,
    lists: f64,
}

impl From<Measured> for TargetOut {
    fn from(measured: Measured) -> Self {
        Self {
            target_recall: measured.target,
            recall_before: measured.recall_before,
            lists_before: measured.lists_before,
            factor: measured.factor,
            recall: measured.recall,
            recall_at_least: measured.at_least,
            lists: measured.lists,
        }
    }
}

fn calibrate(call: &Call, content: &Content) -> Result<Response, ApiError> {
    let collection = call.collection()?;
    let schema = collection.schema();
    let (queries, CalibrateParams { using, limit }) = match rows::kind(content) {
        Some(BARE | NPY) => {
            let params: CalibrateParams = call.params()?;
            let rows = rows::read(content, dim(schema, &params.using)?, Ids::None)?;
            (rows.into_iter().map(|(_, row)| Dense(row)).collect(), params)
        }
        _ => {
            let CalibrateIn { queries, params } = content.json()?;
            (queries, params)
        }
    };
    dim(schema, &using)?;
    let queries: Vec<Vector> = queries.into_iter().map(|query| prepared(query, schema, &using)).collect();
    let report = collection.calibrate(&using, queries, limit)?;
    let targets = report.targets.into_iter().map(TargetOut::from).collect();
    call.respond(CalibrateOut { queries: report.questions, limit: report.k, targets }.into())
}
