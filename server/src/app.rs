//! What requests share: the database, its open collections, the threads, the limits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use nearline::{BehaviorSpace, Collection, Database, OpenError, Query, QueryAnswer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::config::Config;
use crate::content::{bytes_of, units};
use crate::edge::edge;
use crate::error::ApiError;
use crate::guard::guard;
use crate::kept::Kept;
use crate::keys::Keys;
use crate::metrics::Metrics;
use crate::openapi;
use crate::pool::Pool;
use crate::recall::Sampler;
use crate::rights::{Access, Rights};
use crate::routes;
use crate::source::Source;
use crate::table::Needs;
use crate::tables::Tables;
use crate::unread::unread;

/// Downloads at a time: each has a thread.
const DOWNLOADS: usize = 4;

/// Long work that may wait for its turn.
const SLOW: usize = 8;

/// How long what clients did not wait for may be unsynced.
const SYNC: Duration = Duration::from_secs(1);

/// A server without a listener. Clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct App {
    inner: Arc<Inner>,
    /// What may be done through this handle.
    rights: Rights,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    /// Collections that were asked for. They stay open: opening one reads its log.
    open: Mutex<BTreeMap<String, Collection>>,
    /// Behaviour spaces, likewise.
    spaces: Kept<BehaviorSpace>,
    /// Embedding tables, likewise.
    tables: Tables,
    search: Pool,
    write: Pool,
    slow: Pool,
    requests: Semaphore,
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    sampler: Sampler,
    downloads: Arc<Semaphore>,
    /// Held by the one upload that there may be at a time.
    uploading: Arc<tokio::sync::Mutex<()>>,
    config: Config,
    keys: Keys,
    started: Instant,
    /// The thread that syncs, and what is dropped to end it.
    syncing: Mutex<Option<Syncing>>,
    /// The document of all routes, once there is a router.
    document: OnceLock<String>,
}

type Syncing = (mpsc::Sender<()>, JoinHandle<()>);

/// What kind of thread does some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One that answers questions.
    Search,
    /// One that writes.
    Write,
    /// One that does what may take long, one thing after the other.
    Slow,
}

impl App {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn new(database: Database, config: Config) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let searchers = if config.search_threads == 0 { cores } else { config.search_threads };
        let metrics = Arc::new(Metrics::new());
        let inner = Arc::new(Inner {
            sampler: Sampler::start(config.recall_sample as u64, Arc::clone(&metrics))?,
            metrics,
            database,
            open: Mutex::default(),
            spaces: Kept::default(),
            tables: Tables::default(),
            search: Pool::start("search", searchers, config.queue)?,
            write: Pool::start("write", config.write_threads, config.queue)?,
            slow: Pool::start("slow", 1, SLOW)?,
            requests: Semaphore::new(config.requests.min(Semaphore::MAX_PERMITS)),
            room: Arc::new(Semaphore::new(units(config.bodies_bytes))),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            uploading: Arc::default(),
            started: Instant::now(),
            syncing: Mutex::default(),
            document: OnceLock::new(),
            keys: Keys::of(&config),
            config,
        });
        let app = Self { inner, rights: Rights::Manage };
        let (sender, ended) = mpsc::channel();
        let inner = Arc::downgrade(&app.inner);
        let thread = std::thread::Builder::new().name("sync".to_owned());
        let thread = thread.spawn(move || sync_now_and_then(&inner, &ended))?;
        *app.syncing() = Some((sender, thread));
        Ok(app)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(crate) fn database(&self) -> &Database {
        &self.inner.database
    }

    /// Room for bodies.
    pub(crate) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.inner.room)
    }

    /// Leave to send something large for as long as the client takes.
    pub(crate) fn download(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let many = |_| ApiError::busy("too many downloads at a time");
        Arc::clone(&self.inner.downloads).try_acquire_owned().map_err(many)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Notes how questions were answered: some are asked again, to see whether that was right.
    pub(crate) fn note_answers(&self, source: &Source, queries: &[Query], answers: &[QueryAnswer]) {
        if let Source::Now(collection) = source {
            self.inner.sampler.offer(collection, queries, answers);
        }
    }

    /// Requests that are being read or answered.
    pub(crate) fn in_flight(&self) -> u64 {
        let most = self.config().requests.min(Semaphore::MAX_PERMITS);
        most.saturating_sub(self.inner.requests.available_permits()) as u64
    }

    /// Bytes of bodies that are being read or worked on.
    pub(crate) fn bodies_bytes(&self) -> u64 {
        bytes_of(units(self.config().bodies_bytes).saturating_sub(self.inner.room.available_permits()))
    }

    /// Collections that are open, by name.
    pub(crate) fn open_collections(&self) -> Vec<Collection> {
        self.open().values().cloned().collect()
    }

    /// The document of all routes.
    pub(crate) fn document(&self) -> String {
        self.inner.document.get().cloned().unwrap_or_default()
    }

    /// Leave to receive something large.
    pub(crate) fn uploading(&self) -> &Arc<tokio::sync::Mutex<()>> {
        &self.inner.uploading
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.inner.started.elapsed()
    }

    pub(crate) fn pool(&self, kind: Kind) -> &Pool {
        match kind {
            Kind::Search => &self.inner.search,
            Kind::Write => &self.inner.write,
            Kind::Slow => &self.inner.slow,
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Collection>> {
        self.inner.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn syncing(&self) -> MutexGuard<'_, Option<Syncing>> {
        self.inner.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// The same server for somebody who may do no more than this.
    pub(crate) fn limited_to(&self, rights: Rights) -> Self {
        Self { rights, ..self.clone() }
    }

    /// What may be done through this handle.
    pub(crate) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// The name of the collection that is called so; the name itself if there is none.
    pub(crate) fn real_name(&self, name: &str) -> String {
        self.database().aliases().remove(name).unwrap_or_else(|| name.to_owned())
    }

    /// A collection, by its name or an alias, if it may be read. Whether it may be written is known of the one in the path.
    pub(crate) fn collection(&self, name: &str) -> Result<Collection, ApiError> {
        if let Rights::Some(_) = self.rights {
            self.rights.check(Access::Read, Some(&self.real_name(name)))?;
        }
        let collection = self.database().collection(name)?;
        self.keep_open(&collection);
        Ok(collection)
    }

    /// Keeps a collection open until it is dropped. One that was there under its name is gone.
    pub(crate) fn keep_open(&self, collection: &Collection) {
        let before = self.open().insert(collection.name(), collection.clone());
        // The last handle on a collection waits for its maintenance: not under the lock.
        drop(before);
    }

    /// Lets go of a collection.
    pub(crate) fn forget(&self, name: &str) {
        let before = self.open().remove(name);
        drop(before);
    }

    /// A behaviour space, kept open until it is dropped.
    pub(crate) fn space(&self, name: &str) -> Result<BehaviorSpace, ApiError> {
        Ok(self.inner.spaces.get(name, || self.database().behavior_space(name))?)
    }

    /// Drops a behaviour space; false if there is none.
    pub(crate) fn drop_space(&self, name: &str) -> Result<bool, ApiError> {
        match self.inner.spaces.drop_by(name, || self.database().drop_behavior_space(name)) {
            Ok(()) => Ok(true),
            Err(OpenError::Missing { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Embedding tables.
    pub(crate) fn tables(&self) -> &Tables {
        &self.inner.tables
    }

    /// Does what is under way, then syncs and closes all collections. Requests are refused from now on.
    pub fn close(&self) {
        self.inner.search.close();
        self.inner.sampler.close();
        self.inner.write.close();
        self.inner.slow.close();
        let syncing = self.syncing().take();
        if let Some((sender, thread)) = syncing {
            drop(sender);
            // Whatever ended it, the sync that follows is the last.
            let _ = thread.join();
        }
        self.inner.sync();
        drop(std::mem::take(&mut *self.open()));
        self.inner.spaces.close();
        self.inner.tables.close();
    }
}

impl Inner {
    /// Syncs what was acknowledged to clients that did not wait.
    fn sync(&self) {
        let open: Vec<Collection> =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for collection in open {
            // If it fails, so did the disk: the collection takes no more writes, and whoever writes next is told.
            let _ = collection.sync();
        }
    }
}

/// Syncs again and again, until the server is closed or gone.
fn sync_now_and_then(app: &Weak<Inner>, ended: &mpsc::Receiver<()>) {
    while let (Err(mpsc::RecvTimeoutError::Timeout), Some(app)) = (ended.recv_timeout(SYNC), app.upgrade()) {
        app.sync();
    }
}

/// Everything that is answered, by path and method.
pub fn router(app: App) -> Router {
    let (always, limited) = (routes::always(), routes::limited());
    let needs = Arc::new(Needs::of(always.operations().chain(limited.operations())));
    let operations = always.operations().chain(limited.operations());
    app.inner.document.get_or_init(|| openapi::document(operations).to_string());
    let limited = limited
        .into_router()
        .fallback(async || ApiError::not_found("there is nothing at this path"))
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(from_fn_with_state(app.clone(), within_limits));
    let all = always
        .into_router()
        .merge(limited)
        .layer(from_fn_with_state((app.clone(), needs), guard))
        .layer(from_fn(unread))
        .layer(from_fn_with_state(app.clone(), edge));
    let cors = app.config().cors();
    let router = Router::new().fallback_service(all.with_state(app).map_request(trimmed));
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// Refuses what is too much, and gives up what takes too long.
async fn within_limits(State(app): State<App>, request: Request, next: Next) -> Response {
    let Ok(_slot) = app.inner.requests.try_acquire() else {
        return ApiError::busy("too many requests at a time").into_response();
    };
    let seconds = app.config().request_seconds;
    match tokio::time::timeout(Duration::from_secs_f64(seconds), next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::timeout(seconds).into_response(),
    }
}

/// The request without slashes at the end of its path.
fn trimmed(mut request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path().trim_end_matches('/');
    if path.len() < uri.path().len() && !path.is_empty() {
        let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
        if let Ok(uri) = Uri::try_from(format!("{path}{query}")) {
            *request.uri_mut() = uri;
        }
    }
    request
}
