//! A request as handlers see it, and the way there: read whole, done on a thread of a pool, written afterwards.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use nearline::{Collection, Durability};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::app::{App, Kind};
use crate::content::Content;
use crate::error::ApiError;
use crate::form::Form;
use crate::packed;
use crate::reply::Reply;
use crate::rights::{Access, Rights};
use crate::rows;
use crate::source::Source;
use crate::table::{Body, Endpoint, shape};

/// What a request names, and what it says beside its body.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) app: App,
    names: HashMap<String, String>,
    uri: Uri,
    params: Params,
    packs: bool,
    form: Form,
    started: Instant,
}

/// Parameters behind the path, of all requests. Which of them matter depends on the request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Params {
    wait: bool,
    timeout: Option<u64>,
    consistency: Option<String>,
    ordering: Option<Ordering>,
    as_of: Option<String>,
}

/// One writer orders all writes of a collection: every ordering is the strongest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ordering {
    Weak,
    Medium,
    Strong,
}

/// What a handler gives.
pub(crate) type Answer<R> = Result<Reply<R>, ApiError>;

impl Call {
    /// The part of the path that is called so.
    pub(crate) fn name(&self, part: &str) -> &str {
        self.names.get(part).map_or("", String::as_str)
    }

    /// The name of the collection in the path.
    pub(crate) fn collection_name(&self) -> &str {
        self.name("collection")
    }

    /// The collection in the path.
    pub(crate) fn collection(&self) -> Result<Collection, ApiError> {
        self.app.collection(self.collection_name())
    }

    /// What is to be read: the collection in the path, or what the snapshot `as_of` keeps of it.
    pub(crate) fn source(&self) -> Result<Source, ApiError> {
        let collection = self.collection()?;
        Ok(match &self.params.as_of {
            None => Source::Now(collection),
            Some(snapshot) => Source::Then(collection.as_of(snapshot)?, collection.name()),
        })
    }

    /// Parameters that only this request has.
    pub(crate) fn params<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        Query::try_from_uri(&self.uri).map(|Query(params)| params).map_err(ApiError::parameters)
    }

    /// Whether the client waits until its write is done for good.
    pub(crate) fn waits(&self) -> bool {
        self.params.wait
    }

    /// When a write is acknowledged: to those that wait for it, once it survives a loss of power.
    pub(crate) fn durability(&self) -> Durability {
        if self.params.wait { Durability::Synced } else { Durability::Buffered }
    }

    /// A result as it goes out.
    pub(crate) fn respond<R: Serialize>(&self, reply: Reply<R>) -> Result<Response, ApiError> {
        reply.into_response(self.started, self.packs)
    }

    /// Numbers as they go out: bytes if the client wants them, otherwise what `json` makes of them.
    pub(crate) fn respond_rows<R: Serialize>(
        &self,
        shape: &[usize],
        numbers: &[f32],
        json: impl FnOnce() -> R,
    ) -> Result<Response, ApiError> {
        match self.form.rows(shape, numbers) {
            Some(response) => Ok(response),
            None => self.respond(json().into()),
        }
    }

    async fn read(request: Request, app: &App) -> Result<(Self, Content), ApiError> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        // Whoever came past the guard has some.
        let uri = parts.uri.clone();
        let packs = packed::is_wanted(&parts.headers);
        let form = Form::wanted(&parts.headers);
        let rights = parts.extensions.remove::<Rights>();
        let Path(names) = Path::from_request_parts(&mut parts, app)
            .await
            .map_err(|rejection| ApiError::bad_request(format_args!("path: {rejection}")))?;
        let Query(params): Query<Params> =
            Query::from_request_parts(&mut parts, app).await.map_err(ApiError::parameters)?;
        params.check()?;
        let content = Content::from_request(Request::from_parts(parts, body), app).await?;
        let app = app.limited_to(rights.unwrap_or_else(Rights::none));
        Ok((Self { app, names, uri, params, packs, form, started }, content))
    }
}

impl Params {
    fn check(&self) -> Result<(), ApiError> {
        if self.timeout == Some(0) {
            return Err(ApiError::parameters("timeout is 0; expected 1 at least"));
        }
        let right = |text: &str| {
            matches!(text, "majority" | "quorum" | "all")
                || text.parse::<usize>().is_ok_and(|count| count > 0)
        };
        match &self.consistency {
            Some(text) if !right(text) => Err(ApiError::parameters(format_args!(
                "consistency is {text:?}; expected majority, quorum, all or a count"
            ))),
            _ => Ok(()),
        }
    }
}

/// A request on its way: extracted first, so that the router sees it whole.
#[derive(Debug)]
pub(crate) struct Incoming(Call, Content);

impl Incoming {
    /// What it is asked of.
    pub(crate) fn app(&self) -> App {
        self.0.app.clone()
    }
}

impl FromRequest<App> for Incoming {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        Call::read(request, app).await.map(|(call, content)| Self(call, content))
    }
}

/// Does a request's work on a thread of a pool, within the time the client allows.
pub(crate) async fn on_pool<T: Send + 'static>(
    kind: Kind,
    Incoming(call, content): Incoming,
    work: impl FnOnce(Call, Content) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (app, timeout) = (call.app.clone(), call.params.timeout);
    if kind != Kind::Search && call.params.as_of.is_some() {
        return Err(ApiError::parameters(
            "as_of: what a snapshot keeps is only read; expected a route that reads points, or no as_of",
        ));
    }
    let done = app.pool(kind).run(move || {
        let content = content.unpacked(&call.app)?;
        work(call, content)
    });
    let Some(seconds) = timeout else { return done.await? };
    match tokio::time::timeout(Duration::from_secs(seconds), done).await {
        Ok(done) => done?,
        Err(_) => Err(ApiError::timeout(seconds as f64)),
    }
}

async fn answer<Q: DeserializeOwned + 'static, R: Serialize + 'static>(
    kind: Kind,
    incoming: Incoming,
    handler: fn(&Call, Q) -> Answer<R>,
) -> Result<Response, ApiError> {
    on_pool(kind, incoming, move |call, content| {
        let request = content.json()?;
        drop(content);
        call.respond(handler(&call, request)?)
    })
    .await
}

/// A route whose body says what is asked.
pub(crate) fn read<Q, R>(method: MethodFilter, handler: fn(&Call, Q) -> Answer<R>) -> Endpoint
where
    Q: DeserializeOwned + JsonSchema + 'static,
    R: Serialize + JsonSchema + 'static,
{
    let router = on(method, move |incoming: Incoming| answer(Kind::Search, incoming, handler));
    Endpoint::new(method, Access::Read, Body::Json(shape::<Q>), router).answers::<R>()
}

/// A route whose body says what is to be written.
pub(crate) fn write<Q, R>(method: MethodFilter, handler: fn(&Call, Q) -> Answer<R>) -> Endpoint
where
    Q: DeserializeOwned + JsonSchema + 'static,
    R: Serialize + JsonSchema + 'static,
{
    let router = on(method, move |incoming: Incoming| answer(Kind::Write, incoming, handler));
    Endpoint::new(method, Access::Write, Body::Json(shape::<Q>), router).answers::<R>()
}

/// A route whose body is JSON or bytes of one of these kinds, and whose answer may be bytes, too.
pub(crate) fn either<Q: JsonSchema, R: JsonSchema>(
    kind: Kind,
    method: MethodFilter,
    kinds: &'static [&'static str],
    handler: fn(&Call, &Content) -> Result<Response, ApiError>,
) -> Endpoint {
    let router = on(method, move |incoming: Incoming| {
        on_pool(kind, incoming, move |call, content| handler(&call, &content))
    });
    let body = if kinds.is_empty() { Body::Json(shape::<Q>) } else { Body::Either(shape::<Q>, kinds) };
    Endpoint::new(method, access_of(kind), body, router).answers::<R>()
}

/// A route whose body says what is to be done that may take long.
pub(crate) fn slow<Q, R>(method: MethodFilter, handler: fn(&Call, Q) -> Answer<R>) -> Endpoint
where
    Q: DeserializeOwned + JsonSchema + 'static,
    R: Serialize + JsonSchema + 'static,
{
    let router = on(method, move |incoming: Incoming| answer(Kind::Slow, incoming, handler));
    Endpoint::new(method, Access::Write, Body::Json(shape::<Q>), router).answers::<R>()
}

/// A route whose body is rows of numbers.
pub(crate) fn bytes<R: Serialize + JsonSchema + 'static>(
    kind: Kind,
    method: MethodFilter,
    handler: fn(&Call, &Content) -> Answer<R>,
) -> Endpoint {
    let router = on(method, move |incoming: Incoming| {
        on_pool(kind, incoming, move |call, content| call.respond(handler(&call, &content)?))
    });
    Endpoint::new(method, access_of(kind), Body::Other(&[rows::BARE, rows::NPY]), router).answers::<R>()
}

fn access_of(kind: Kind) -> Access {
    if kind == Kind::Search { Access::Read } else { Access::Write }
}

/// A route whose path says it all. A body is not looked at.
pub(crate) fn plain<R>(kind: Kind, method: MethodFilter, handler: fn(&Call) -> Answer<R>) -> Endpoint
where
    R: Serialize + JsonSchema + 'static,
{
    let router = on(method, move |incoming: Incoming| {
        on_pool(kind, incoming, move |call, _| call.respond(handler(&call)?))
    });
    Endpoint::new(method, access_of(kind), Body::None, router).answers::<R>()
}

/// The same, whose answer is bytes.
pub(crate) fn raw(
    kind: Kind,
    method: MethodFilter,
    handler: fn(&Call) -> Result<Response, ApiError>,
) -> Endpoint {
    let router = on(method, move |incoming: Incoming| on_pool(kind, incoming, move |call, _| handler(&call)));
    Endpoint::new(method, access_of(kind), Body::None, router)
}
