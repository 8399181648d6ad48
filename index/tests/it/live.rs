//! Indexes that change: entries added in RAM, and files written anew with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearline_index::*;
use nearline_storage::{Disk, PartDisk, SimDisk};

use crate::common::*;

/// Vectors in a file, of which some are in an index, some were added to it, and some are dead.
struct Home {
    rows: Rows,
    metric: Metric,
    disk: Arc<dyn Disk>,
    index: Index,
    live: Live,
    /// Rows up to this one are in lists.
    end: usize,
    dead: BTreeSet<u32>,
    folds: u64,
}

/// The first vectors of a set, as rows that are not numbered from 0.
struct First<'a> {
    rows: &'a Rows,
    count: usize,
}

/// The row of the first vector.
const FIRST: u32 = 70;

impl VectorSource for First<'_> {
    fn name(&self) -> String {
        "first".to_owned()
    }

    fn element(&self) -> ElementType {
        self.rows.shape.element
    }

    fn dim(&self) -> usize {
        self.rows.shape.dim
    }

    fn count(&self) -> u64 {
        self.count as u64
    }

    fn row(&self, at: u64) -> RowId {
        RowId(FIRST + at as u32)
    }

    fn rows(&self, from: u64) -> std::result::Result<Box<dyn RowStream + '_>, SourceError> {
        let bytes = &self.rows.bytes[from as usize * self.rows.shape.row_bytes()..];
        let rest = &bytes[..(self.count - from as usize) * self.rows.shape.row_bytes()];
        Ok(Box::new(Slices { rest, row_bytes: self.rows.shape.row_bytes() }))
    }
}

struct Slices<'a> {
    rest: &'a [u8],
    row_bytes: usize,
}

impl RowStream for Slices<'_> {
    fn next_rows(&mut self, out: &mut [u8]) -> std::result::Result<usize, SourceError> {
        let bytes = (out.len() / self.row_bytes * self.row_bytes).min(self.rest.len());
        let (now, later) = self.rest.split_at(bytes);
        out[..bytes].copy_from_slice(now);
        self.rest = later;
        Ok(bytes / self.row_bytes)
    }
}

impl Home {
    fn new(rows: &Rows, count: usize, options: &BuildOptions<'_>) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(1));
        let mut writer = FlatWriter::create(disk.as_ref(), "vectors", 9, rows.shape).unwrap();
        for (row, vector) in (FIRST..).zip(rows.iter()) {
            writer.push(RowId(row), vector).unwrap();
        }
        writer.finish().unwrap();
        let range = RowId(FIRST)..=RowId(FIRST + rows.len() as u32 - 1);
        let set = RowSet::dense(*range.start(), *range.end());
        let flat = Flat::open(&disk, "vectors", 9, rows.shape, set).unwrap();
        let files = Arc::new(RowFiles::new(disk.as_ref(), vec![(range, Arc::new(flat))]).unwrap());
        let part: Arc<dyn Disk> = Arc::new(PartDisk::new(Arc::clone(&disk), "i0."));
        let every = rows.len().div_ceil(50);
        let few = rows.iter().step_by(every).flatten().copied().collect();
        let few = Rows { shape: rows.shape, bytes: few };
        let queries = few.source();
        let options = BuildOptions { rows_outside: true, calibration_queries: Some(&queries), ..*options };
        build_on(Arc::clone(&part), &First { rows, count }, &options, &Silent).unwrap();
        let index = Index::open_on(part, &OpenOptions::default()).unwrap();
        let live = Live { rows: files, delta: Arc::default(), widen: Widen::NONE };
        let (rows, metric, dead) = (rows.clone(), options.metric, BTreeSet::new());
        Self { rows, metric, disk, index, live, end: count, dead, folds: 0 }
    }

    /// The same once more.
    fn again(&self) -> Self {
        let Self { rows, metric, disk, index, live, end, dead, folds } = self;
        let (rows, disk, index) = (rows.clone(), Arc::clone(disk), index.clone());
        Self {
            rows,
            metric: *metric,
            disk,
            index,
            live: live.clone(),
            end: *end,
            dead: dead.clone(),
            folds: *folds,
        }
    }

    fn grow(&mut self, count: usize) {
        let end = (self.end + count).min(self.rows.len());
        let rows: Vec<RowId> = (self.end..end).map(|row| RowId(FIRST + row as u32)).collect();
        let row_bytes = self.rows.shape.row_bytes();
        let vectors = &self.rows.bytes[self.end * row_bytes..end * row_bytes];
        let Grown::Added(delta) = self.live.delta.grow(&self.index, &rows, vectors) else {
            panic!("they fit")
        };
        assert_eq!(delta.rows(), self.live.delta.rows() + rows.len() as u64);
        self.live.delta = Arc::new(delta);
        self.end = end;
    }

    fn fold(&mut self) -> FoldReport {
        self.folds += 1;
        let part = PartDisk::new(Arc::clone(&self.disk), format!("i{}.", self.folds));
        let part: Arc<dyn Disk> = Arc::new(part);
        let dead = &self.dead;
        let is_dead = |row: RowId| dead.contains(&row.0);
        let options = FoldOptions {
            is_dead: &is_dead,
            identity: self.folds,
            memory_bytes: 1 << 30,
            is_cancelled: &|| false,
        };
        let report = fold(&self.index, &self.live, &part, &options).unwrap();
        self.index = Index::open_on(Arc::clone(&part), &OpenOptions::default()).unwrap();
        let mut found = Vec::new();
        let verified = verify_outside(part, &mut |row| found.push(row.0), &mut |_, _| ()).unwrap();
        assert_eq!(verified.problems, []);
        found.sort_unstable();
        assert!(found.iter().eq(&self.living()), "each living row is a primary of one list");
        self.live = Live { delta: Arc::default(), ..self.live.clone() };
        assert_eq!(self.index.info().rows, report.rows);
        assert_eq!(report.rows, self.living().len() as u64);
        report
    }

    fn measure(&mut self) {
        let query = |row: &u32| (RowId(*row), self.rows.row((row - FIRST) as usize).to_vec());
        let queries: Vec<(RowId, Vec<u8>)> = self.living().iter().step_by(17).map(query).collect();
        let dead = &self.dead;
        let widen =
            measure(&self.index, &self.live, &queries, false, &|row| dead.contains(&row.0), &|| false)
                .unwrap();
        self.live.widen = widen;
    }

    /// Kills every `n`-th row that is in lists.
    fn kill(&mut self, n: usize) {
        self.dead.extend((0..self.end).step_by(n).map(|row| FIRST + row as u32));
    }

    fn living(&self) -> BTreeSet<u32> {
        (FIRST..FIRST + self.end as u32).filter(|row| !self.dead.contains(row)).collect()
    }

    fn search(&self, searcher: &mut Searcher, query: &[u8], options: &SearchOptions) -> Answer {
        let allows = |row: RowId| !self.dead.contains(&row.0);
        let share = self.living().len() as f32 / self.end as f32;
        searcher.search_live(query, options, Filter { allows: &allows, share }, &self.live).unwrap()
    }

    /// Every living row is found, once, with its distance.
    fn check_all(&self, query: &[u8]) {
        let living = self.living();
        let options = SearchOptions { rerank: Rerank::Exact, ..ask(living.len(), Probe::All) };
        let answer = self.search(&mut self.index.searcher(), query, &options);
        let found: BTreeSet<u32> = answer.hits.iter().map(|hit| hit.row.0).collect();
        assert_eq!(found, living);
        assert_eq!(answer.hits.len(), living.len());
        let scorer = Scorer::new(self.metric, self.rows.shape, query);
        for hit in &answer.hits {
            assert_eq!(hit.distance, scorer.distance(self.rows.row((hit.row.0 - FIRST) as usize)));
        }
    }

    /// Mean recall@10 of some queries.
    fn recall(&self, queries: &Rows, target: f32) -> f64 {
        let mut searcher = self.index.searcher();
        let living = self.living();
        let mut right = 0;
        for query in queries.iter() {
            let scorer = Scorer::new(self.metric, self.rows.shape, query);
            let distance = |&row: &u32| scorer.distance(self.rows.row((row - FIRST) as usize));
            let mut all: Vec<f32> = living.iter().map(distance).collect();
            all.sort_by(f32::total_cmp);
            let options = SearchOptions { rerank: Rerank::Exact, ..ask(10, Probe::TargetRecall(target)) };
            let answer = self.search(&mut searcher, query, &options);
            assert_eq!(answer.hits.len(), 10);
            right += answer.hits.iter().filter(|hit| hit.distance <= all[9]).count();
        }
        right as f64 / (10 * queries.len()) as f64
    }
}

#[test]
fn what_is_added_is_found_and_folds_lose_nothing() {
    for (metric, codec) in
        [(Metric::L2, None), (Metric::Cosine, None), (Metric::InnerProduct, None), (Metric::L2, CODECS[0])]
    {
        let (rows, queries) = Rows::generate(ElementType::F32, 3_000, 24, 20);
        // So that no later vector is longer than the first ones.
        let mut rows = rows;
        if metric == Metric::InnerProduct {
            let long: Vec<u8> = (0..24).flat_map(|_| 50f32.to_le_bytes()).collect();
            rows.bytes[..long.len()].copy_from_slice(&long);
        }
        let mut home = Home::new(&rows, 600, &BuildOptions { codec, ..options(metric) });
        home.check_all(queries.row(0));
        for round in 1..=4 {
            home.grow(400);
            home.grow(200);
            home.kill(7 + round);
            home.check_all(queries.row(round));
            assert!(home.recall(&queries, 0.95) > 0.93, "{metric} before fold {round}");
            let report = home.fold();
            home.measure();
            home.check_all(queries.row(round));
            let recall = home.recall(&queries, 0.95);
            assert!(recall > 0.93, "{metric} after fold {round}: {recall} {report:?}");
        }
        // As many lists as a fresh index, more or less, and none too long.
        let fresh = Home::new(&rows, rows.len(), &BuildOptions { codec, ..options(metric) });
        let (lists, fresh) = (home.index.info(), fresh.index.info());
        let ratio = lists.lists as f64 / fresh.lists as f64;
        assert!((0.6..1.7).contains(&ratio), "{} lists, {} if built anew", lists.lists, fresh.lists);
        assert!(lists.list_entries_max <= fresh.list_entries_max.max(64));
    }
}

#[test]
fn what_is_all_the_same_can_be_split() {
    let one: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let rows = Rows::of(ElementType::F32, 16, &one).repeated(3_000);
    let mut home = Home::new(&rows, 200, &options(Metric::L2));
    home.grow(2_800);
    let report = home.fold();
    assert!(report.split > 0, "{report:?}");
    home.check_all(rows.row(0));
}

#[test]
fn lists_that_shrink_dissolve_and_an_index_may_end() {
    let (rows, queries) = Rows::generate(ElementType::F32, 4_000, 16, 20);
    let mut home = Home::new(&rows, 4_000, &options(Metric::L2));
    let before = home.index.info().lists;
    home.dead.extend((0..4_000).filter(|row| row % 16 != 0).map(|row| FIRST + row));
    let report = home.fold();
    assert!(report.dissolved > 0 && report.lists * 4 < before, "{report:?}");
    home.check_all(queries.row(0));
    let recall = home.recall(&queries, 0.95);
    assert!(recall > 0.93, "{recall} {report:?}");
    // Few, and all but one.
    home.dead.extend(FIRST + 48..FIRST + 4_000);
    home.fold();
    home.measure();
    home.dead.extend(FIRST + 1..FIRST + 4_000);
    assert_eq!((home.fold().rows, home.index.info().lists), (1, 1));
    home.check_all(queries.row(0));
    home.dead.insert(FIRST);
    let part: Arc<dyn Disk> = Arc::new(PartDisk::new(Arc::clone(&home.disk), "end."));
    let options = FoldOptions { is_dead: &|_| true, identity: 99, memory_bytes: 0, is_cancelled: &|| false };
    assert_eq!(fold(&home.index, &home.live, &part, &options).unwrap(), FoldReport::default());
    assert!(part.list().unwrap().is_empty());
}

#[test]
fn folds_can_be_cancelled_and_vectors_may_be_too_long() {
    let (rows, _) = Rows::generate(ElementType::F32, 600, 16, 1);
    let mut home = Home::new(&rows, 500, &options(Metric::InnerProduct));
    let long: Vec<u8> = (0..16).flat_map(|_| 1e6f32.to_le_bytes()).collect();
    assert!(matches!(home.live.delta.grow(&home.index, &[RowId(FIRST + 500)], &long), Grown::Outgrown));
    home.grow(0);
    let part: Arc<dyn Disk> = Arc::new(PartDisk::new(Arc::clone(&home.disk), "no."));
    let options = FoldOptions { is_dead: &|_| false, identity: 99, memory_bytes: 0, is_cancelled: &|| true };
    let refused = fold(&home.index, &home.live, &part, &options);
    assert!(matches!(refused, Err(IndexError::Interrupted)), "{refused:?}");
}

/// Questions unlike the vectors are found as well as it is said they are, by somebody who compares everything.
#[test]
fn questions_find_what_was_measured() {
    let (rows, _) = Rows::generate(ElementType::F32, 4_000, 24, 1);
    let mut home = Home::new(&rows, 3_000, &options(Metric::L2));
    home.grow(1_000);
    // Between two vectors that have nothing to do with each other.
    let between = |shift: usize| {
        let value = |row: &[u8], at: usize| f32::from_le_bytes(*row[at * 4..].first_chunk().unwrap());
        let one = |at: usize| {
            let (a, b) = (rows.row(at * 13 % 3_000), rows.row((at * 29 + shift) % 3_000));
            (0..24).map(move |i| (value(a, i) + value(b, i)) / 2.0)
        };
        Rows::of(ElementType::F32, 24, &(0..300).flat_map(one).collect::<Vec<f32>>())
    };
    let questions = between(100);
    let measured = |home: &Home, is_cancelled: bool| {
        let asked = (&*questions.bytes, 10);
        measure_questions(&home.index, &home.live, asked, &|_| false, &|| is_cancelled)
    };
    assert!(matches!(measured(&home, true), Err(IndexError::Interrupted)));
    let found = measured(&home, false).unwrap();
    assert_eq!(found.iter().map(|found| found.target).collect::<Vec<_>>(), Widen::TARGETS);
    for found in &found {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let before = home.recall(&questions, found.target);
        assert!(near(before, found.recall_before), "{before} before, {found:?}");
        let wider =
            Home { live: Live { widen: Widen::all(found.factor), ..home.live.clone() }, ..home.again() };
        let after = wider.recall(&questions, found.target);
        assert!(near(after, found.recall), "{after} after, {found:?}");
        assert!(
            found.at_least >= found.target.into() || found.recall == 1.0 || found.factor > 12.0,
            "{found:?}"
        );
        assert!(found.at_least <= found.recall && found.lists >= found.lists_before, "{found:?}");
    }
    // The factors say something of other questions, too.
    home.live.widen = Widen::new([found[0].factor, found[1].factor, found[2].factor]);
    let others = between(1_700);
    for found in found {
        let recall = home.recall(&others, found.target);
        assert!(recall >= f64::from(found.target) - 0.01, "{recall} {found:?}");
    }
}
