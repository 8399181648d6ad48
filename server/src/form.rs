//! In which form a client wants numbers.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;

use crate::rows::{self, BARE, NPY};

/// Behind which header an answer in bytes says its shape.
const SHAPE: &str = "x-shape";

/// What `accept` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Bare,
    Npy,
}

impl Form {
    /// The first kind that is known; JSON if there is none.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kinds = accept.split(',').filter_map(|kind| match kind.split(';').next()?.trim() {
            BARE => Some(Self::Bare),
            NPY => Some(Self::Npy),
            "application/json" => Some(Self::Json),
            _ => None,
        });
        kinds.into_iter().next().unwrap_or(Self::Json)
    }

    /// An answer of numbers of this shape, unless JSON is wanted.
    pub(crate) fn rows(self, shape: &[usize], numbers: &[f32]) -> Option<Response> {
        let (kind, bytes) = match self {
            Self::Json => return None,
            Self::Bare => (BARE, rows::bytes(numbers)),
            Self::Npy => (NPY, rows::file(shape, numbers)),
        };
        let mut response = Response::new(bytes.into());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        if let Ok(shape) = HeaderValue::from_str(&shape) {
            response.headers_mut().insert(SHAPE, shape);
        }
        Some(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_kind_that_is_known_counts() {
        for (accept, form) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("text/html, application/x-npy;q=1", Form::Npy),
            ("application/octet-stream, application/json", Form::Bare),
            ("application/json, application/x-npy", Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Form::wanted(&headers), form, "{accept}");
        }
    }
}
