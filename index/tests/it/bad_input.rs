//! Whatever does not fit is refused in one line that says what was found and what was expected.

use std::sync::Arc;

use nearline_index::*;
use nearline_storage::{Disk, SimDisk};

use crate::common::*;

/// A source that says one thing and does another.
#[derive(Clone)]
struct Claims {
    shape: Shape,
    count: u64,
    /// Rows there are, all of the value 1.
    real: u64,
    fails: bool,
}

impl Claims {
    fn of(dim: usize, count: u64) -> Self {
        Self { shape: Shape { element: ElementType::F32, dim }, count, real: count, fails: false }
    }
}

impl VectorSource for Claims {
    fn name(&self) -> String {
        "base.fbin".to_owned()
    }
    fn element(&self) -> ElementType {
        self.shape.element
    }
    fn dim(&self) -> usize {
        self.shape.dim
    }
    fn count(&self) -> u64 {
        self.count
    }
    fn rows(&self, from: u64) -> Result<Box<dyn RowStream + '_>, SourceError> {
        Ok(Box::new(ClaimedRows { left: self.real.saturating_sub(from), source: self }))
    }
}

struct ClaimedRows<'a> {
    left: u64,
    source: &'a Claims,
}

impl RowStream for ClaimedRows<'_> {
    fn next_rows(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        if self.source.fails {
            return Err("base.fbin: the cable came out".into());
        }
        let rows = self.left.min((out.len() / self.source.shape.row_bytes()) as u64) as usize;
        out[..rows * self.source.shape.row_bytes()].as_chunks_mut().0.fill(1f32.to_le_bytes());
        self.left -= rows as u64;
        Ok(rows)
    }
}

struct Ids(u64);

impl IdSource for Ids {
    fn name(&self) -> String {
        "ids.u64".to_owned()
    }
    fn count(&self) -> u64 {
        self.0
    }
    fn ids(&self, _: u64, _: &mut [u64]) -> Result<(), SourceError> {
        Err("ids.u64: ends early".into())
    }
}

/// The build is refused with this message, by `plan` too if `planned`, and leaves nothing that opens.
#[track_caller]
fn check_build(source: &dyn VectorSource, options: &BuildOptions<'_>, planned: bool, message: &str) {
    assert_eq!(
        plan(source, options).err().map(|error| error.to_string()),
        planned.then(|| message.to_owned())
    );
    let disk = SimDisk::new(1);
    let error = build_on(Arc::new(disk.clone()), source, options, &Silent).expect_err(message);
    assert_eq!(error.to_string(), message);
    assert!(matches!(open_sim(&disk), Err(IndexError::NotAnIndex { .. })));
    let dir = folder();
    let error = build(&dir.path().join("new"), source, options, &Silent).expect_err(message);
    assert_eq!(error.to_string(), message);
    assert_eq!(dir.path().join("new").exists(), !planned, "a build that cannot be makes no folder");
}

#[test]
fn shapes_that_no_index_has() {
    let l2 = options(Metric::L2);
    check_build(&Claims::of(0, 5), &l2, true, "base.fbin: 0 dimensions; expected 1 to 65535");
    check_build(&Claims::of(65_536, 5), &l2, true, "base.fbin: 65536 dimensions; expected 1 to 65535");
    check_build(&Claims::of(3, 0), &l2, true, "base.fbin: 0 vectors; expected 1 to 4294967295");
    check_build(
        &Claims::of(3, 1 << 32),
        &l2,
        true,
        "base.fbin: 4294967296 vectors; expected 1 to 4294967295",
    );
}

#[test]
fn options_out_of_range() {
    let l2 = options(Metric::L2);
    let rows = Claims::of(3, 5);
    for (replicas, found) in [(0, "0"), (9, "9")] {
        let message = format!("--replicas: {found}; expected 1 to 8");
        check_build(&rows, &BuildOptions { replicas: Some(replicas), ..l2 }, true, &message);
    }
    for (list_vectors, found) in [(0, "0"), (65_537, "65537")] {
        let message = format!("--list-vectors: {found}; expected 1 to 65536");
        check_build(&rows, &BuildOptions { list_vectors: Some(list_vectors), ..l2 }, true, &message);
    }
    for bits in [0, 9, 255] {
        let message = format!("--codec: rabitq:{bits}; expected rabitq:1 to rabitq:8");
        let codec = Some(Codec::Rabitq { bits });
        check_build(&rows, &BuildOptions { codec, ..l2 }, true, &message);
    }
    let ids = BuildOptions { ids: Some(&Ids(4)), ..l2 };
    check_build(&rows, &ids, true, "ids.u64: 4 ids; expected 5, one for each vector of base.fbin");
    let ids = BuildOptions { ids: Some(&Ids(5)), ..l2 };
    check_build(&rows, &ids, false, "ids.u64: ends early");
}

#[test]
fn calibration_queries_that_do_not_fit() {
    let l2 = options(Metric::L2);
    let rows = Rows::of(ElementType::F32, 3, &[1.0; 15]);
    let check = |queries: &dyn VectorSource, planned, message: &str| {
        check_build(
            &rows.source(),
            &BuildOptions { calibration_queries: Some(queries), ..l2 },
            planned,
            message,
        );
    };
    let expected = "expected f32 x 3, as in vectors";
    check(&Claims::of(4, 5), true, &format!("base.fbin: f32 x 4; {expected}"));
    let bytes = Rows::of(ElementType::U8, 3, &[1.0; 15]);
    check(&bytes.source(), true, &format!("vectors: u8 x 3; {expected}"));
    check(&Claims::of(3, 0), true, "base.fbin: no vectors; expected at least one query");
    let short = Claims { real: 7, ..Claims::of(3, 500) };
    check(&short, false, "base.fbin: 7 vectors; expected 500, as its header says");
    let odd = Rows::of(ElementType::F32, 3, &[1.0, f32::NAN, 1.0]);
    check(&odd.source(), false, "vectors: row 0 holds NaN or an infinity; expected finite values");
}

#[test]
fn vectors_without_a_distance() {
    let mut values = vec![1.0; 3 * 2_000];
    for (element, bad) in [
        (ElementType::F32, f32::NAN),
        (ElementType::F32, f32::INFINITY),
        (ElementType::F16, f32::NEG_INFINITY),
        (ElementType::F16, f32::NAN),
    ] {
        for row in [0, 1, 999, 1_999] {
            values[3 * row + row % 3] = bad;
            let rows = Rows::of(element, 3, &values);
            let message = format!("vectors: row {row} holds NaN or an infinity; expected finite values");
            check_build(&rows.source(), &options(Metric::L2), false, &message);
            values[3 * row + row % 3] = 1.0;
        }
    }
    for element in ELEMENTS {
        values[3 * 1_234..3 * 1_235].fill(if element == ElementType::F32 { -0.0 } else { 0.0 });
        let rows = Rows::of(element, 3, &values);
        let message = "vectors: row 1234 is a zero vector; expected vectors with a direction, as cosine \
                       distance needs one (or --metric l2 or ip)";
        check_build(&rows.source(), &options(Metric::Cosine), false, message);
        build_sim(&rows, &options(Metric::L2));
        build_sim(&rows, &options(Metric::InnerProduct));
    }
}

#[test]
fn a_source_that_breaks_its_word() {
    let short = Claims { real: 1_500, ..Claims::of(3, 2_000) };
    let message = "base.fbin: 1500 vectors; expected 2000, as its header says";
    check_build(&short, &options(Metric::L2), false, message);
    let failing = Claims { fails: true, ..Claims::of(3, 2_000) };
    check_build(&failing, &options(Metric::L2), false, "base.fbin: the cable came out");
}

#[test]
fn memory_that_does_not_do_and_memory_that_does() {
    for (dim, list_vectors) in [(8, 16), (500, 1), (3_000, 16)] {
        let rows = Claims::of(dim, 3_000);
        let with = |memory_bytes| BuildOptions {
            memory_bytes,
            list_vectors: Some(list_vectors),
            codec: Some(Codec::Rabitq { bits: 4 }),
            ..options(Metric::L2)
        };
        let Err(IndexError::Budget { what, needed, allowed: 1, fix }) = plan(&rows, &with(1)) else {
            panic!("planned with a byte of memory")
        };
        assert_eq!(what, "centroids and buffers of the build");
        let message = format!("{what}: {needed} bytes needed, 1 bytes allowed; {fix}");
        check_build(&rows, &with(1), true, &message);
        let plan = plan(&rows, &with(needed)).unwrap_or_else(|error| panic!("{dim}: {error}"));
        assert!(plan.memory_bytes <= needed, "{dim}: {plan:?}");
        let disk = SimDisk::new(1);
        let report = build_on(Arc::new(disk.clone()), &rows, &with(needed), &Silent).unwrap();
        assert_eq!(report.plan, plan);
        assert_eq!(open_sim(&disk).unwrap().info().rows, 3_000);
    }
}

#[test]
fn a_plan_tells_what_the_build_then_needs() {
    for (element, count, dim) in [(ElementType::F32, 20_000, 24), (ElementType::U8, 8_000, 100)] {
        let (rows, _) = Rows::generate(element, count, dim, 0);
        let disk = SimDisk::new(1);
        let report = build_on(Arc::new(disk.clone()), &rows.source(), &options(Metric::L2), &Silent).unwrap();
        let size: u64 = files(&disk).values().map(|bytes| bytes.len() as u64).sum();
        assert_eq!(report.disk_bytes, size);
        assert_eq!(report.rows, count as u64);
        let predicted = report.plan.disk_bytes as f64 / size as f64;
        assert!((0.5..2.0).contains(&predicted), "{predicted} of the real size was predicted");
        let names: Vec<&str> = report.seconds.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, Stage::ALL.map(Stage::name));
        let info = open_sim(&disk).unwrap().info().clone();
        assert_eq!((info.lists, info.entries, info.disk_bytes), (report.lists, report.entries, size));
    }
}

#[test]
fn queries_and_options_that_do_not_fit_leave_a_searcher_usable() {
    let (rows, queries) = Rows::generate(ElementType::F32, 200, 4, 1);
    let ten = ask(10, Probe::All);
    let of = |values: &[f32]| Rows::of(ElementType::F32, values.len(), values).bytes;
    let good = of(&[1.0, 2.0, 3.0, 4.0]);
    let finite = "query: row 0 holds NaN or an infinity; expected finite values";
    let cases: Vec<(Vec<u8>, SearchOptions, &str)> = vec![
        (good.clone(), ask(0, Probe::All), "k: 0; expected 1 to 200, the number of vectors"),
        (good.clone(), ask(201, Probe::All), "k: 201; expected 1 to 200, the number of vectors"),
        (
            good.clone(),
            ask(usize::MAX, Probe::All),
            "k: 18446744073709551615; expected 1 to 200, the number of vectors",
        ),
        (good.clone(), ask(1, Probe::Lists(0)), "nprobe: 0; expected 1 or more"),
        (good.clone(), ask(1, Probe::TargetRecall(0.0)), "target recall: 0; expected above 0 and at most 1"),
        (
            good.clone(),
            ask(1, Probe::TargetRecall(1.5)),
            "target recall: 1.5; expected above 0 and at most 1",
        ),
        (
            good.clone(),
            ask(1, Probe::TargetRecall(f32::NAN)),
            "target recall: NaN; expected above 0 and at most 1",
        ),
        (of(&[1.0; 3]), ten, "query: 12 bytes; expected 16 (f32 x 4)"),
        (of(&[1.0; 5]), ten, "query: 20 bytes; expected 16 (f32 x 4)"),
        (Vec::new(), ten, "query: 0 bytes; expected 16 (f32 x 4)"),
        (of(&[1.0, f32::NAN, 0.0, 0.0]), ten, finite),
        (of(&[1.0, 1.0, 0.0, f32::NEG_INFINITY]), ten, finite),
    ];
    for (metric, codec) in METRICS.into_iter().flat_map(|metric| CODECS.map(|codec| (metric, codec))) {
        let disk = build_sim(&rows, &BuildOptions { codec, ..options(metric) });
        let mut searcher = open_sim(&disk).unwrap().searcher();
        let right = brute_force(metric, &rows, queries.row(0), 10);
        for (query, asked, message) in &cases {
            assert_eq!(&searcher.search(query, asked).unwrap_err().to_string(), message);
            assert_eq!(search_all(&mut searcher, queries.row(0), 10), right);
        }
        let zero = searcher.search(&of(&[0.0, -0.0, 0.0, 0.0]), &ten);
        match metric {
            Metric::Cosine => {
                assert!(zero.unwrap_err().to_string().starts_with("query: row 0 is a zero vector"))
            }
            _ => assert_eq!(pairs(&zero.unwrap()), brute_force(metric, &rows, &of(&[0.0; 4]), 10)),
        }
    }
}

#[test]
fn every_recall_and_number_of_lists_is_answered_with_k_hits() {
    let (rows, queries) = Rows::generate(ElementType::F32, 700, 6, 2);
    for codec in CODECS {
        let disk = build_sim(&rows, &BuildOptions { codec, list_vectors: Some(8), ..options(Metric::L2) });
        check_every_probe(open_sim(&disk).unwrap(), &rows, queries.row(0));
    }
}

fn check_every_probe(index: Index, rows: &Rows, query: &[u8]) {
    let mut searcher = index.searcher();
    for k in [1, 2, 10, 11, 100, 101, 500, 700] {
        for probe in [
            Probe::TargetRecall(1.0),
            Probe::TargetRecall(0.999),
            Probe::TargetRecall(0.5),
            Probe::Lists(1_000_000),
            Probe::Lists(usize::MAX),
        ] {
            let asked = SearchOptions { rerank: Rerank::Exact, ..ask(k, probe) };
            let hits = searcher.search(query, &asked).unwrap().hits;
            assert!(hits.len() <= k && hits.windows(2).all(|two| two[0].distance <= two[1].distance));
            let exact = match probe {
                Probe::TargetRecall(target) => target == 1.0,
                _ => index.info().codec == Codec::Raw,
            };
            let found: Vec<(u32, f32)> = hits.iter().map(|hit| (hit.row.0, hit.distance)).collect();
            let right = brute_force(Metric::L2, rows, query, k);
            if exact {
                assert_eq!(found, right, "{probe:?}");
            } else if matches!(probe, Probe::Lists(_)) {
                // All lists, but candidates by their codes: nearly all of the neighbours, at their exact distances.
                let common = found.iter().filter(|pair| right.contains(pair)).count();
                assert!(common * 10 >= k * 9, "{common} of {k}");
            }
        }
    }
}

#[test]
fn slices_that_are_no_vectors() {
    let shape = Shape { element: ElementType::F16, dim: 3 };
    let message = VectorSlice::new(shape, &[0; 13]).unwrap_err().to_string();
    assert_eq!(message, "vectors: 13 bytes; expected a multiple of f16 x 3");
    assert!(VectorSlice::new(Shape { element: ElementType::F16, dim: 0 }, &[]).is_err());
    assert_eq!(VectorSlice::from_f32(2, &[0.0; 6]).unwrap().count(), 3);
    let disk = SimDisk::new(1);
    let empty = VectorSlice::new(shape, &[]).unwrap();
    let error = build_on(Arc::new(disk.clone()), &empty, &options(Metric::L2), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "vectors: 0 vectors; expected 1 to 4294967295");
    assert!(disk.list().unwrap().is_empty());
}
