//! What `export` writes and `import --from` reads: a folder of plain files, and `export.json`, which says what is where.

use std::path::Path;

use clap::ValueEnum;
use nearline::{Schema, VectorConfig};
use serde::{Deserialize, Serialize};

use crate::{args, db, exit, source};

/// The file that says what is in the others.
pub(crate) const DESCRIPTION: &str = "export.json";
/// One payload a line.
pub(crate) const PAYLOADS: &str = "payloads.jsonl";
/// One id a line, where some are UUIDs.
pub(crate) const IDS_TEXT: &str = "ids.txt";
/// Ids where all are numbers.
pub(crate) const IDS_BINARY: &str = "ids.i64bin";
/// The form of the folder.
const FORMAT: u32 = 1;
/// More than any description takes.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// What is in the folder of an export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Exported {
    format: u32,
    /// The collection it was.
    pub(crate) collection: String,
    pub(crate) points: u64,
    /// File of the ids, in ascending order.
    pub(crate) ids: String,
    /// File of the payloads, in the order of the ids.
    pub(crate) payloads: String,
    pub(crate) vectors: Vec<Vectors>,
}

/// The vectors of one name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Vectors {
    pub(crate) name: String,
    pub(crate) element: String,
    pub(crate) dim: usize,
    pub(crate) metric: String,
    /// Their file, in the order of the ids; none if no point has such a vector.
    pub(crate) file: Option<String>,
    /// The ids of those points that have one, unless all do.
    pub(crate) ids: Option<String>,
}

impl Exported {
    pub(crate) fn new(collection: String, points: u64, ids: &str, vectors: Vec<Vectors>) -> Self {
        Self {
            format: FORMAT,
            collection,
            points,
            ids: ids.to_owned(),
            payloads: PAYLOADS.to_owned(),
            vectors,
        }
    }

    /// Reads the description of a folder.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(DESCRIPTION);
        let wrong = |what: String| {
            exit::bad_input(format!("{}: {what}; expected what `nearline export` writes", path.display()))
        };
        let len = std::fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
        if len > DESCRIPTION_BYTES_MAX {
            return Err(wrong(format!("found {len} bytes")));
        }
        let text = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        let exported: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if exported.format != FORMAT {
            return Err(wrong(format!("found format {}, which is not {FORMAT}", exported.format)));
        }
        let inner = exported.vectors.iter().flat_map(|vectors| [&vectors.file, &vectors.ids]).flatten();
        for name in inner.chain([&exported.ids, &exported.payloads]) {
            // Nothing outside of the folder is read.
            if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) {
                return Err(wrong(format!("found file name {name:?}")));
            }
        }
        Ok(exported)
    }

    /// The schema of the collection.
    pub(crate) fn schema(&self, folder: &Path) -> anyhow::Result<Schema> {
        let file = folder.join(DESCRIPTION);
        let wrong = |what: &str, found: &str| {
            exit::bad_input(format!("{}: found {what} {found:?}; expected a known one", file.display()))
        };
        self.vectors.iter().try_fold(Schema::new(), |schema, vectors| {
            let metric = args::Metric::from_str(&vectors.metric, false);
            let metric = metric.map_err(|_| wrong("metric", &vectors.metric))?;
            let element = vectors.element.parse().map_err(|_| wrong("element type", &vectors.element))?;
            let config = VectorConfig::new(vectors.dim, metric.into()).element(source::element(element));
            Ok(schema.vector(&*vectors.name, config))
        })
    }
}

impl Vectors {
    pub(crate) fn new(name: &str, config: &VectorConfig) -> Self {
        Self {
            name: name.to_owned(),
            element: db::element(config.element).name().to_owned(),
            dim: config.dim,
            metric: config.metric.name().to_owned(),
            file: None,
            ids: None,
        }
    }
}
