//! What the tests share: vectors, folders, and the naive twin of the whole index.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use half::f16;
use nearline_datasets::{Generator, Kind, RowSource};
use nearline_index::*;
use nearline_storage::{Disk, IoMode, SimDisk};
use tempfile::TempDir;

pub(crate) const ELEMENTS: [ElementType; 4] =
    [ElementType::F32, ElementType::F16, ElementType::U8, ElementType::I8];
pub(crate) const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// Vectors in memory, with a name.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) shape: Shape,
    pub(crate) bytes: Vec<u8>,
}

impl Rows {
    /// Rows of a generated set, and queries for it.
    pub(crate) fn generate(element: ElementType, count: usize, dim: usize, queries: usize) -> (Self, Self) {
        let theirs = match element {
            ElementType::F32 => nearline_datasets::ElementType::F32,
            ElementType::F16 => nearline_datasets::ElementType::F16,
            ElementType::U8 => nearline_datasets::ElementType::U8,
            ElementType::I8 => nearline_datasets::ElementType::I8,
        };
        let generator = Generator::new(Kind::Deep, dim, theirs, 7).unwrap();
        let shape = Shape { element, dim };
        let fill = |source: &dyn RowSource, count: usize| {
            let mut bytes = vec![0; count * shape.row_bytes()];
            source.fill(0, &mut bytes);
            Self { shape, bytes }
        };
        (fill(&generator, count), fill(&generator.queries(), queries))
    }

    /// Rows of these numbers, rounded to the element type.
    pub(crate) fn of(element: ElementType, dim: usize, values: &[f32]) -> Self {
        let mut bytes = Vec::new();
        for &x in values {
            match element {
                ElementType::F32 => bytes.extend(x.to_le_bytes()),
                ElementType::F16 => bytes.extend(f16::from_f32(x).to_le_bytes()),
                ElementType::U8 => bytes.push(x as u8),
                ElementType::I8 => bytes.push((x as i8).cast_unsigned()),
            }
        }
        Self { shape: Shape { element, dim }, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / self.shape.row_bytes()
    }

    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.shape.row_bytes()..][..self.shape.row_bytes()]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.shape.row_bytes())
    }

    /// The same rows `times` over.
    pub(crate) fn repeated(&self, times: usize) -> Self {
        Self { shape: self.shape, bytes: self.bytes.repeat(times) }
    }

    pub(crate) fn source(&self) -> VectorSlice<'_> {
        VectorSlice::new(self.shape, &self.bytes).unwrap()
    }
}

/// The naive twin of a search of everything: a scan and a sort, ties by row.
pub(crate) fn brute_force(metric: Metric, rows: &Rows, query: &[u8], k: usize) -> Vec<(u32, f32)> {
    let mut all = vec![0.0; rows.len()];
    Scorer::new(metric, rows.shape, query).distances(&rows.bytes, &mut all);
    let mut all: Vec<(u32, f32)> = (0..).zip(all).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    all.truncate(k);
    all
}

/// What posting lists may hold, for tests of both ways to search: raw vectors, as SPANN has them, and codes.
pub(crate) const CODECS: [Option<Codec>; 2] = [Some(Codec::Raw), None];

/// As [`options`], with lists of raw vectors: the faithful SPANN.
pub(crate) fn raw(metric: Metric) -> BuildOptions<'static> {
    BuildOptions { codec: Some(Codec::Raw), ..options(metric) }
}

/// Options that suit small sets.
pub(crate) fn options(metric: Metric) -> BuildOptions<'static> {
    BuildOptions {
        metric,
        memory_bytes: 64 << 20,
        threads: 2,
        io: IoMode::from_env(),
        ..BuildOptions::default()
    }
}

/// Builds on a simulated disk; a few of the rows are the queries to calibrate with, to save time.
pub(crate) fn build_sim(rows: &Rows, options: &BuildOptions<'_>) -> SimDisk {
    const QUERIES: usize = 20;
    let every = rows.len().div_ceil(QUERIES);
    let bytes = rows.iter().step_by(every).flatten().copied().collect();
    let few = Rows { shape: rows.shape, bytes };
    let queries = few.source();
    build_own(
        rows,
        &BuildOptions { calibration_queries: options.calibration_queries.or(Some(&queries)), ..*options },
    )
}

/// Builds on a simulated disk, and calibrates with rows that are held out.
pub(crate) fn build_own(rows: &Rows, options: &BuildOptions<'_>) -> SimDisk {
    let disk = SimDisk::new(1);
    build_on(Arc::new(disk.clone()), &rows.source(), options, &Silent).unwrap();
    disk
}

/// Opens on a simulated disk.
pub(crate) fn open_sim(disk: &SimDisk) -> Result<Index> {
    open_with(disk, &OpenOptions::default())
}

/// As [`open_sim`], with options.
pub(crate) fn open_with(disk: &SimDisk, options: &OpenOptions) -> Result<Index> {
    Index::open_on(Arc::new(disk.clone()), options)
}

/// Asks for the `k` nearest.
pub(crate) fn ask(k: usize, probe: Probe) -> SearchOptions {
    SearchOptions { k, probe, ..SearchOptions::default() }
}

/// So many ids: three times the row.
pub(crate) struct Thirds(pub(crate) u64);

impl IdSource for Thirds {
    fn name(&self) -> String {
        "thirds".to_owned()
    }
    fn count(&self) -> u64 {
        self.0
    }
    fn ids(&self, from: u64, out: &mut [u64]) -> std::result::Result<(), SourceError> {
        out.iter_mut().zip(from..).for_each(|(id, row)| *id = 3 * row);
        Ok(())
    }
}

/// A temporary folder on the disk the build is on, where direct reads are likely to work.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap()
}

/// All files of a simulated folder but the lock.
pub(crate) fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list().unwrap();
    names
        .into_iter()
        .filter(|name| name != "LOCK")
        .map(|name| (name.clone(), disk.bytes(&name).unwrap()))
        .collect()
}

/// All files of a folder but the lock.
pub(crate) fn files_in(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names
        .filter(|name| name != "LOCK")
        .map(|name| (name.clone(), std::fs::read(dir.join(&name)).unwrap()))
        .collect()
}

/// A simulated folder that holds these files, durably.
pub(crate) fn sim_of(files: &BTreeMap<String, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new(2);
    for (name, bytes) in files {
        let file = disk.create(name).unwrap();
        file.write_at(0, bytes).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir().unwrap();
    disk
}

/// Which files differ, if any: for messages, as the files themselves are too long.
pub(crate) fn different(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    names.into_iter().filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// The rows and distances of an answer.
pub(crate) fn pairs(answer: &Answer) -> Vec<(u32, f32)> {
    answer.hits.iter().map(|hit| (hit.row.0, hit.distance)).collect()
}

/// How many of an answer's vectors are as near as the true neighbours.
pub(crate) fn right_of(answer: &Answer, metric: Metric, rows: &Rows, query: &[u8]) -> usize {
    let right = brute_force(metric, rows, query, answer.hits.len());
    within(answer, metric, rows, query, right.last().map_or(f32::NEG_INFINITY, |last| last.1))
}

/// How many of an answer's vectors are within a distance.
pub(crate) fn within(answer: &Answer, metric: Metric, rows: &Rows, query: &[u8], limit: f32) -> usize {
    let scorer = Scorer::new(metric, rows.shape, query);
    let is_right = |hit: &&Hit| {
        let mut distance = [0.0];
        scorer.distances(rows.row(hit.row.0 as usize), &mut distance);
        distance[0] <= limit
    };
    answer.hits.iter().filter(is_right).count()
}

/// Searches all lists.
pub(crate) fn search_all(searcher: &mut Searcher, query: &[u8], k: usize) -> Vec<(u32, f32)> {
    pairs(&searcher.search(query, &ask(k, Probe::All)).unwrap())
}
