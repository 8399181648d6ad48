//! Answers: the envelope around every result.

use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use nearline::QueryReport;
use serde::Serialize;

use crate::error::ApiError;
use crate::packed;

/// What a handler answers: the result, and what it cost.
#[derive(Debug)]
pub(crate) struct Reply<R> {
    result: R,
    usage: Option<Usage>,
}

impl<R> From<R> for Reply<R> {
    fn from(result: R) -> Self {
        Self { result, usage: None }
    }
}

impl<R> Reply<R> {
    /// The same with another result.
    pub(crate) fn map<S>(self, change: impl FnOnce(R) -> S) -> Reply<S> {
        Reply { result: change(self.result), usage: self.usage }
    }

    /// The same, with what it cost.
    pub(crate) fn with_usage(self, usage: Usage) -> Self {
        Self { usage: Some(usage), ..self }
    }
}

impl<R: Serialize> Reply<R> {
    /// The answer as it goes out.
    pub(crate) fn into_response(self, started: Instant, packs: bool) -> Result<Response, ApiError> {
        let Self { result, usage } = self;
        let noted = usage.clone();
        let time = started.elapsed().as_secs_f64();
        let envelope = Envelope { result, status: "ok", time, usage };
        let bytes = serde_json::to_vec(&envelope).map_err(ApiError::internal)?;
        let packed = if packs { packed::pack(&bytes) } else { None };
        let is_packed = packed.is_some();
        let mut response = as_json(StatusCode::OK, packed.unwrap_or(bytes).into());
        if is_packed {
            packed::say(&mut response);
        }
        if let Some(usage) = noted {
            response.extensions_mut().insert(usage);
        }
        Ok(response)
    }
}

#[derive(Serialize)]
struct Envelope<R> {
    result: R,
    status: &'static str,
    time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// JSON with a status.
pub(crate) fn as_json(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// What one or several questions cost: beyond what the dialect knows.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Usage {
    /// How the first was answered.
    pub(crate) strategy: String,
    /// Why so.
    why: String,
    pub(crate) lists: u64,
    pub(crate) compared: u64,
    pub(crate) pages: u64,
    reads: u64,
    pub(crate) bytes: u64,
    /// Whether a limit cut any of them short.
    cut: bool,
    payloads_asked: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unindexed: Vec<String>,
    pub(crate) microseconds: u64,
}

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;

impl Usage {
    /// Of the reports of several questions, if there are any.
    pub(crate) fn of<'a>(reports: impl IntoIterator<Item = &'a QueryReport>) -> Option<Self> {
        let mut reports = reports.into_iter();
        let mut usage = Self::one(reports.next()?);
        for report in reports {
            let Self {
                lists,
                compared,
                pages,
                reads,
                bytes,
                cut,
                payloads_asked,
                microseconds,
                unindexed,
                ..
            } = Self::one(report);
            usage.reads += reads;
            usage.cut |= cut;
            usage.lists += lists;
            usage.compared += compared;
            usage.pages += pages;
            usage.bytes += bytes;
            usage.payloads_asked += payloads_asked;
            usage.microseconds += microseconds;
            usage.unindexed.extend(unindexed);
        }
        usage.unindexed.sort_unstable();
        usage.unindexed.dedup();
        Some(usage)
    }

    fn one(report: &QueryReport) -> Self {
        Self {
            strategy: snake_case(&format!("{:?}", report.strategy)),
            why: report.why.clone(),
            lists: report.lists,
            compared: report.compared,
            pages: report.pages,
            reads: report.reads,
            cut: report.cut,
            bytes: report.pages * PAGE_BYTES,
            payloads_asked: report.filter.payloads_asked,
            unindexed: report.filter.unindexed.clone(),
            microseconds: report.total_us as u64,
        }
    }
}

/// `FilteredScan` as `filtered_scan`.
fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
