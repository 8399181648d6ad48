//! What is counted, and how it is told to Prometheus. Labels are routes, methods and statuses, which are few; of collections, those that
//! are open, up to a number.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::app::{App, Kind};
use crate::reply::Usage;

/// The form of what is told.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Collections that are told of one by one.
const COLLECTIONS: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: String,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCollection {
    collection: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    table: String,
}

/// Everything that is counted while the server runs.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram, fn() -> Histogram>,
    query_bytes: Histogram,
    query_reads: Histogram,
    query_lists: Histogram,
    recall_found: Counter,
    recall_expected: Counter,
    recall_samples: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// From a tenth of a millisecond to almost a minute.
fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 20))
}

/// From one to about a billion, and 0.
fn amounts() -> Histogram {
    Histogram::new(std::iter::once(0.0).chain(exponential_buckets(1.0, 4.0, 16)))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("nearline");
        let requests = Family::default();
        registry.register("http_requests", "Requests answered, by status", requests.clone());
        let seconds: Family<Asked, Histogram, fn() -> Histogram> = Family::new_with_constructor(latencies);
        registry.register_with_unit(
            "http_request",
            "From the head of a request to its answer, before that is written",
            Unit::Seconds,
            seconds.clone(),
        );
        let mut amount = |name: &str, help: &str| {
            let histogram = amounts();
            registry.register(name, help, histogram.clone());
            histogram
        };
        let query_bytes = amount("query_bytes", "Bytes read from disk or cache to answer a request");
        let query_reads = amount("query_pages", "Pages of 4096 bytes read to answer a request");
        let query_lists = amount("query_lists", "Posting lists looked at to answer a request");
        let mut count = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let recall_found = count("recall_found", "Points of exact answers that were in the answers given");
        let recall_expected = count("recall_expected", "Points of exact answers");
        let recall_samples = count("recall_samples", "Questions answered again, exactly");
        Self {
            requests,
            seconds,
            query_bytes,
            query_reads,
            query_lists,
            recall_found,
            recall_expected,
            recall_samples,
            registry,
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let (method, route) = (method.to_owned(), route.to_owned());
        let answered = Answered { method: method.clone(), route: route.clone(), status };
        self.requests.get_or_create(&answered).inc();
        self.seconds.get_or_create(&Asked { method, route }).observe(took.as_secs_f64());
    }

    /// Questions of a request were answered at this cost.
    pub(crate) fn searched(&self, usage: &Usage) {
        self.query_bytes.observe(usage.bytes as f64);
        self.query_reads.observe(usage.pages as f64);
        self.query_lists.observe(usage.lists as f64);
    }

    /// A question was answered again, exactly.
    pub(crate) fn sampled(&self, found: u64, expected: u64) {
        self.recall_samples.inc();
        self.recall_found.inc_by(found);
        self.recall_expected.inc_by(expected);
    }

    /// All that is counted, and how things are now.
    ///
    /// # Errors
    /// Never in practice: it is written to memory.
    pub(crate) fn told(&self, app: &App) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &now(app))?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// How things are now.
fn now(app: &App) -> Registry {
    let mut registry = Registry::with_prefix("nearline");
    let mut tell = |name: &str, help: &str, value: u64| {
        let gauge: Gauge = Gauge::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    tell("memory_budget_bytes", "Memory that the database may take", app.database().memory_budget());
    tell("process_resident_bytes", "Memory that the process has", resident_bytes().unwrap_or(0));
    tell("http_requests_in_flight", "Requests that are being read or answered", app.in_flight());
    tell("bodies_bytes", "Bytes of bodies that are being read or worked on", app.bodies_bytes());
    tell("uptime_seconds", "Seconds since the start", app.uptime().as_secs());
    queues(app, &mut registry);
    collections(app, &mut registry);
    tables(app, &mut registry);
    registry
}

fn queues(app: &App, registry: &mut Registry) {
    let (waiting, refused) = (Family::<Of, Gauge>::default(), Family::<Of, Counter>::default());
    for (kind, name) in [(Kind::Search, "search"), (Kind::Write, "write"), (Kind::Slow, "slow")] {
        let of = Of { kind: name };
        waiting.get_or_create(&of).set(app.pool(kind).waiting() as i64);
        refused.get_or_create(&of).inc_by(app.pool(kind).refused());
    }
    registry.register("queue_waiting", "Requests that wait for a thread", waiting);
    registry.register("queue_refused", "Requests refused because too many were waiting", refused);
}

fn collections(app: &App, registry: &mut Registry) {
    let figures: [(&str, &str, Family<OfCollection, Gauge>); 7] = [
        ("points", "Points", Family::default()),
        ("vectors_not_indexed", "Vectors in no index yet, compared one by one", Family::default()),
        ("points_in_memory", "Points not flushed yet", Family::default()),
        ("maintenance_pending", "1 if there is something to be done in the background", Family::default()),
        (
            "collection_memory_bytes",
            "Memory of points not flushed, open segments and indexes",
            Family::default(),
        ),
        ("disk_bytes", "Bytes of segments and indexes", Family::default()),
        ("log_bytes", "Bytes of the log", Family::default()),
    ];
    for collection in app.open_collections().into_iter().take(COLLECTIONS) {
        let (stats, is_idle) = (collection.stats(), collection.is_idle());
        let values = [
            stats.points,
            stats.not_indexed,
            stats.points_in_memory,
            u64::from(!is_idle),
            stats.delta_bytes + stats.ram_bytes,
            stats.disk_bytes,
            stats.wal_bytes,
        ];
        let of = OfCollection { collection: collection.name() };
        for ((_, _, family), value) in figures.iter().zip(values) {
            family.get_or_create(&of).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    for (name, help, family) in figures {
        registry.register(name, help, family);
    }
}

fn tables(app: &App, registry: &mut Registry) {
    let figures: [(&str, &str, Family<OfTable, Gauge>); 5] = [
        ("table_rows", "Rows of an embedding table", Family::default()),
        ("table_resident_rows", "Rows in memory", Family::default()),
        ("table_changed_rows", "Rows changed since the file was written", Family::default()),
        ("table_file_bytes", "Bytes of the file", Family::default()),
        ("table_log_bytes", "Bytes of the log", Family::default()),
    ];
    for (name, table) in app.tables().all().into_iter().take(COLLECTIONS) {
        // One that cannot be asked is not told of; whoever asks it is told why.
        let Ok(stats) = table.stats() else { continue };
        let values = [stats.rows, stats.resident_rows, stats.changed_rows, stats.file_bytes, stats.log_bytes];
        let of = OfTable { table: name };
        for ((_, _, family), value) in figures.iter().zip(values) {
            family.get_or_create(&of).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    for (name, help, family) in figures {
        registry.register(name, help, family);
    }
}

/// Bytes of memory that the process has, where the operating system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
