//! Why a request is refused: a status, and a text that begins as clients of the dialect expect.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nearline::{BehaviorError, IndexError, OpenError, QueryError, StorageError, TableError, WriteError};
use serde_json::json;

use crate::reply::as_json;

/// Seconds after which it is worth while to ask again.
const RETRY_AFTER: u32 = 1;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .status.as_u16())]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The status that is answered.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// A value that nothing can be done with.
    pub(crate) fn wrong_input(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Wrong input: {message}"))
    }

    /// A request that cannot be meant so.
    pub(crate) fn bad_request(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Bad request: {message}"))
    }

    /// Something of the dialect that is not here.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::bad_request(format_args!("{what}: not supported yet"))
    }

    /// A body that is not JSON, or not of the right shape.
    pub(crate) fn format(error: &serde_json::Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Format error in JSON body: {error}"))
    }

    /// Parameters behind the path that are not of the right shape.
    pub(crate) fn parameters(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Format error in query parameters: {error}"))
    }

    /// A value out of its range.
    pub(crate) fn invalid(field: &str, found: impl std::fmt::Display, expected: &str) -> Self {
        let message = format!("Validation error in JSON body: [{field}: value {found} invalid, {expected}]");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    /// Somebody without a key, or with a wrong one.
    pub(crate) fn unauthorized(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message.to_string())
    }

    /// Something that the sender may not do.
    pub(crate) fn forbidden(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("Forbidden: {message}"))
    }

    /// Something that is not there.
    pub(crate) fn not_found(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Not found: {message}"))
    }

    /// Something that is in the way of what is asked.
    pub(crate) fn conflict(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, format!("Wrong input: {message}"))
    }

    /// A collection that is not there.
    pub(crate) fn no_collection(name: &str) -> Self {
        Self::not_found(format_args!("Collection `{name}` doesn't exist!"))
    }

    /// A point that is not there.
    pub(crate) fn no_point(id: nearline::PointId) -> Self {
        Self::not_found(format_args!("No point with id {id} found"))
    }

    /// A name that no vectors have.
    pub(crate) fn no_vector(name: &str) -> Self {
        Self::wrong_input(format_args!("Not existing vector name error: {name}"))
    }

    /// A method that a path does not have.
    pub(crate) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Bad request: this path has no such method")
    }

    /// A body, or an answer, that is too large.
    pub(crate) fn too_large(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("Bad request: {message}"))
    }

    /// A body in a form that is not understood.
    pub(crate) fn media_type(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("Bad request: {message}"))
    }

    /// Work that took too long.
    pub(crate) fn timeout(seconds: f64) -> Self {
        let message = format!("Timeout: the request took longer than {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, message)
    }

    /// More to do than can be done; asking again later helps.
    pub(crate) fn busy(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("Service unavailable: {message}; try again"))
    }

    /// A fault of the program or of the machine.
    pub(crate) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("Service internal error: {message}"))
    }

    fn storage(error: &StorageError) -> Self {
        match error {
            StorageError::DiskFull { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, format!("Service internal error: {error}"))
            }
            error => Self::internal(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "status": { "error": self.message }, "time": 0.0, "result": null });
        let mut response = as_json(self.status, body.to_string().into());
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
        }
        response
    }
}

impl From<OpenError> for ApiError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Missing { what: "collection", name } => Self::no_collection(&name),
            OpenError::Missing { what, name } => {
                Self::not_found(format_args!("{what} `{name}` doesn't exist!"))
            }
            OpenError::Exists { what: "collection", name } => {
                Self::new(StatusCode::CONFLICT, format!("Wrong input: Collection `{name}` already exists!"))
            }
            error @ OpenError::Exists { .. } => {
                Self::new(StatusCode::CONFLICT, format!("Wrong input: {error}"))
            }
            error @ (OpenError::Name { .. } | OpenError::Schema { .. }) => Self::wrong_input(error),
            error @ OpenError::InUse { .. } => Self::busy(error),
            OpenError::Storage(error) => Self::storage(&error),
            OpenError::Table(error) => error.into(),
            // Of an archive that was sent.
            OpenError::Source(error) => Self::wrong_input(error),
            error => Self::internal(error),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Storage(error) => Self::storage(&error),
            WriteError::Name(error) => (*error).clone().into(),
            error @ WriteError::Poisoned { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("Service internal error: {error}"))
            }
            error @ (WriteError::Index(_) | WriteError::Panicked { .. }) => Self::internal(error),
            error @ WriteError::Filter(_) => Self::bad_request(error),
            error => Self::wrong_input(error),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Storage(error) => Self::storage(&error),
            QueryError::NoPoint { id } => Self::no_point(id),
            QueryError::NoVector { name, .. } => Self::no_vector(&name),
            error @ QueryError::Index(_) => Self::internal(error),
            error @ QueryError::Filter(_) => Self::bad_request(error),
            error => Self::wrong_input(error),
        }
    }
}

impl From<BehaviorError> for ApiError {
    fn from(error: BehaviorError) -> Self {
        match error {
            BehaviorError::Storage(error) => Self::storage(&error),
            error @ BehaviorError::ItemChanged { .. } => {
                Self::new(StatusCode::CONFLICT, format!("Wrong input: {error}"))
            }
            error @ BehaviorError::Full { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, format!("Service internal error: {error}"))
            }
            error @ BehaviorError::Poisoned { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("Service internal error: {error}"))
            }
            error => Self::wrong_input(error),
        }
    }
}

impl From<TableError> for ApiError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => Self::storage(&error),
            error @ TableError::Poisoned { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("Service internal error: {error}"))
            }
            error => Self::wrong_input(error),
        }
    }
}

/// Of tables that are made: nothing of the disk is read for them.
impl From<IndexError> for ApiError {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Storage(error) => Self::storage(&error),
            error => Self::wrong_input(error),
        }
    }
}
