//! `nearline export`: all points of a collection as files of vectors, ids and payloads.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nearline::{Collection, Page, Point, PointId, QueryError, Schema, Scroll, Uuid, VectorConfig, Version};
use nearline_datasets::{DatasetError, ElementType, VectorWriter};
use serde_json::json;

use crate::db::CollectionArgs;
use crate::exported::{DESCRIPTION, Exported, IDS_BINARY, IDS_TEXT, PAYLOADS, Vectors};
use crate::output::{IdOutput, Output};
use crate::progress::{Mode, Reporter};
use crate::size::{self, Size};
use crate::{db, exit, interrupt, machine, print};

/// Points and bytes of their vectors that are in memory at once, about.
const PAGE_POINTS: usize = 256;
const PAGE_BYTES: usize = 16 << 20;

#[derive(clap::Args)]
#[command(
    after_help = "The folder holds ids.i64bin (or ids.txt, if some are UUIDs), payloads.jsonl, a file of each kind \
    of vectors, all in the order of the ids, and export.json, which says what is where. `nearline import --from` reads \
    it; `nearline build` and other programs read its files."
)]
pub(crate) struct Args {
    #[command(flatten)]
    of: CollectionArgs,
    /// The points as a snapshot keeps them
    #[arg(long, value_name = "NAME")]
    as_of: Option<String>,
    /// Folder to make; it appears when it is whole
    #[arg(long)]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let started = Instant::now();
    if args.output.exists() {
        let path = args.output.display();
        return Err(exit::usage(format!("{path}: exists already; choose a new folder, or remove it")));
    }
    let (_database, collection) = args.of.open()?;
    let source = match &args.as_of {
        Some(snapshot) => Source::Version(collection.as_of(snapshot)?),
        None => Source::Newest(collection.clone()),
    };
    let target = std::path::absolute(&args.output).map_err(|error| failed(&args.output, "find", error))?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    // Removed when dropped, whatever happens until then.
    let draft = tempfile::Builder::new().prefix(".nearline-export-").tempdir_in(parent);
    let draft = draft.map_err(|error| failed(parent, "make a folder in", error))?;
    let folder = draft.path().join("export");
    fs::create_dir(&folder).map_err(|error| failed(&folder, "make", error))?;
    let points = export(args, &collection.name(), &source, &folder)?;
    sync(&folder)?;
    fs::rename(&folder, &target).map_err(|error| failed(&target, "rename", error))?;
    sync(parent)?;
    let (bytes, seconds) = (machine::folder_bytes(&target), started.elapsed().as_secs_f64());
    if args.json {
        return print::json(&json!({
            "collection": collection.name(), "points": points, "bytes": bytes, "seconds": seconds,
        }));
    }
    let (points, path) = (size::count(points), args.output.display());
    print::line(format!("{path}: {points} points, {}, in {}", Size(bytes), size::seconds(seconds)))
}

/// Whose points are exported.
enum Source {
    Newest(Collection),
    Version(Version),
}

impl Source {
    fn schema(&self) -> &Schema {
        match self {
            Self::Newest(collection) => collection.schema(),
            Self::Version(version) => version.schema(),
        }
    }

    fn count(&self) -> Result<u64, QueryError> {
        match self {
            Self::Newest(collection) => collection.count(None),
            Self::Version(version) => version.count(None),
        }
    }

    fn scroll(&self, scroll: &Scroll) -> Result<Page, QueryError> {
        match self {
            Self::Newest(collection) => collection.scroll(scroll),
            Self::Version(version) => version.scroll(scroll),
        }
    }
}

/// Writes all files. Says how many points there were.
fn export(args: &Args, collection: &str, source: &Source, folder: &Path) -> anyhow::Result<u64> {
    let total = source.count()?;
    let reporter = Reporter::new(args.progress);
    reporter.start("export", 0, total);
    let mut ids = IdWriter::create(source, folder, total)?;
    let mut payloads = Output::create(&folder.join(PAYLOADS))?;
    let vectors = source.schema().vectors();
    let mut columns: Vec<Column<'_>> =
        vectors.enumerate().map(|(at, (name, config))| Column::new(folder, at, name, config)).collect();
    let row_bytes: usize = columns.iter().map(|column| column.config.dim * 4).sum();
    let limit = (PAGE_BYTES / row_bytes.max(1)).clamp(1, PAGE_POINTS);
    let (mut scroll, mut done) = (Scroll::new().limit(limit), 0);
    loop {
        let page = source.scroll(&scroll)?;
        for point in &page.points {
            ids.write(point.id)?;
            payloads.write(serde_json::to_string(&point.payload)?.as_bytes())?;
            payloads.write(b"\n")?;
            columns.iter_mut().try_for_each(|column| column.write(point))?;
        }
        done += page.points.len() as u64;
        reporter.set(done);
        interrupt::check()?;
        let Some(next) = page.next else { break };
        scroll = scroll.from(next);
    }
    let ids_name = ids.finish()?;
    payloads.finish()?;
    let vectors = columns.into_iter().map(|column| column.finish(done)).collect::<Result<_, _>>()?;
    let exported = Exported::new(collection.to_owned(), done, ids_name, vectors);
    let mut description = Output::create(&folder.join(DESCRIPTION))?;
    description.write(serde_json::to_string_pretty(&exported)?.as_bytes())?;
    description.write(b"\n")?;
    description.finish()?;
    reporter.finish();
    Ok(done)
}

/// The file of ids: numbers as other programs know them, or text where there are UUIDs.
enum IdWriter {
    Binary(IdOutput),
    Text(Output),
}

impl IdWriter {
    fn create(source: &Source, folder: &Path, total: u64) -> anyhow::Result<Self> {
        let first_uuid = Scroll::new().limit(1).with_vectors(false).from(Uuid([0; 16]));
        let all_numbers = source.scroll(&first_uuid)?.points.is_empty();
        Ok(match all_numbers && total > 0 {
            true => Self::Binary(IdOutput::create(&folder.join(IDS_BINARY), total, 1)?),
            false => Self::Text(Output::create(&folder.join(IDS_TEXT))?),
        })
    }

    fn write(&mut self, id: PointId) -> anyhow::Result<()> {
        match (self, id) {
            (Self::Binary(output), PointId::Number(id)) => output.write(&[id]),
            (Self::Text(output), id) => output.write(format!("{id}\n").as_bytes()),
            (Self::Binary(_), PointId::Uuid(id)) => Err(anyhow::anyhow!("{id}: a UUID among numbers")),
        }
    }

    fn finish(self) -> anyhow::Result<&'static str> {
        match self {
            Self::Binary(output) => output.finish().map(|()| IDS_BINARY),
            Self::Text(output) => output.finish().map(|()| IDS_TEXT),
        }
    }
}

/// The file of the vectors of one name, and the ids of the points that have one. Both begin with the first of them.
struct Column<'a> {
    folder: &'a Path,
    at: usize,
    name: &'a str,
    config: &'a VectorConfig,
    element: ElementType,
    files: Option<(VectorWriter, Output)>,
}

impl<'a> Column<'a> {
    fn new(folder: &'a Path, at: usize, name: &'a str, config: &'a VectorConfig) -> Self {
        Self { folder, at, name, config, element: db::element(config.element), files: None }
    }

    fn names(&self) -> (String, String) {
        // Names of vectors may not do for files.
        let stem = if self.name.is_empty() { "vectors".to_owned() } else { format!("vectors.{}", self.at) };
        let extension = match self.element {
            ElementType::F32 => "fbin",
            ElementType::F16 => "f16bin",
            ElementType::U8 => "u8bin",
            ElementType::I8 => "i8bin",
        };
        (format!("{stem}.{extension}"), format!("{stem}.ids.txt"))
    }

    fn write(&mut self, point: &Point) -> anyhow::Result<()> {
        let Some(row) = db::bytes(point, self.name, self.element) else { return Ok(()) };
        if self.files.is_none() {
            let (file, ids) = self.names();
            let writer = VectorWriter::create(&self.folder.join(file), self.element, self.config.dim)?;
            self.files = Some((writer, Output::create(&self.folder.join(ids))?));
        }
        if let Some((rows, ids)) = &mut self.files {
            rows.write_rows(&row)?;
            ids.write(format!("{}\n", point.id).as_bytes())?;
        }
        Ok(())
    }

    fn finish(mut self, points: u64) -> anyhow::Result<Vectors> {
        let mut vectors = Vectors::new(self.name, self.config);
        let (file, ids) = self.names();
        if let Some((rows, of)) = self.files.take() {
            if rows.count() < points {
                of.finish()?;
                vectors.ids = Some(ids);
            }
            rows.finish()?;
            vectors.file = Some(file);
        }
        Ok(vectors)
    }
}

/// Makes the names in a folder survive a crash.
fn sync(folder: &Path) -> anyhow::Result<()> {
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(synced.map_err(|error| failed(folder, "sync", error))?)
}

fn failed(path: &Path, action: &'static str, source: std::io::Error) -> DatasetError {
    DatasetError::Io { file: path.to_owned(), action, source }
}
