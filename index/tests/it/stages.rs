//! Builds whose rows come in several partitions: the power goes at every operation of every stage.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use nearline_index::*;
use nearline_storage::{Disk, Fault, Faults, SimDisk};

use crate::common::*;

/// More than a megabyte, which is what is sorted at a time at least.
static ROWS: LazyLock<Rows> = LazyLock::new(|| Rows::generate(ElementType::F32, 400, 1_000, 0).0);
static QUERIES: LazyLock<Rows> = LazyLock::new(|| Rows::generate(ElementType::F32, 8, 1_000, 8).1);

fn chosen(codec: Option<Codec>, rerank: bool) -> BuildOptions<'static> {
    static SOURCE: LazyLock<VectorSlice<'static>> = LazyLock::new(|| QUERIES.source());
    BuildOptions {
        codec,
        rerank,
        memory_bytes: 6_100_000,
        list_vectors: Some(20),
        replicas: Some(2),
        threads: 1,
        calibration_queries: Some(&*SOURCE),
        ..options(Metric::L2)
    }
}

fn run(disk: &SimDisk, options: &BuildOptions<'_>) -> Result<BuildReport> {
    build_on(Arc::new(disk.clone()), &ROWS.source(), options, &Silent)
}

/// All ways to build that differ in the files they leave and make on their way.
const WAYS: [(Option<Codec>, bool); 3] = [
    (Some(Codec::Raw), true),
    (Some(Codec::Rabitq { bits: 3 }), true),
    (Some(Codec::Rabitq { bits: 2 }), false),
];

/// The operations of a way that are looked at: every third, another third for each way; with `NEARLINE_FULL` all.
fn some_of(way: usize, operations: u64) -> impl Iterator<Item = u64> {
    let is_full = std::env::var_os("NEARLINE_FULL").is_some();
    let (first, step) = if is_full { (1, 1) } else { (1 + way as u64, 3) };
    (first..=operations).step_by(step)
}

#[test]
fn a_build_in_partitions_that_loses_power_anywhere_is_resumed_to_the_same_bytes() {
    let mut seen = BTreeSet::new();
    for (way, (codec, rerank)) in WAYS.into_iter().enumerate() {
        let options = chosen(codec, rerank);
        let whole = SimDisk::new(1);
        let report = run(&whole, &options).unwrap();
        assert!(report.plan.partitions > 1, "{:?}", report.plan);
        let (right, operations) = (files(&whole), whole.operations());
        for at in some_of(way, operations) {
            let disk = SimDisk::new(at);
            disk.crash_at(at);
            let when = format!("{codec:?}, power lost at {at} of {operations}");
            // The last operation makes the tidying-up durable; the index is there without it.
            assert!(run(&disk, &options).is_err() || at == operations, "{when}");
            disk.crash(at * 31);
            seen.extend(disk.list().unwrap());
            match run(&disk, &BuildOptions { resume: true, ..options }) {
                Ok(_) | Err(IndexError::Occupied { found: "a finished index", .. }) => {}
                Err(error) => panic!("{when}: {error}"),
            }
            assert_eq!(different(&files(&disk), &right), [""; 0], "{when}");
        }
    }
    for name in ["build.lists", "build.rows", "rows.000001", "build.places", "build.copies.0001"] {
        assert!(seen.contains(name), "no crash left a {name}: {seen:?}");
    }
}

#[test]
fn a_bit_that_rots_in_a_temporary_file_is_an_error_or_does_not_matter() {
    for (way, (codec, rerank)) in WAYS.into_iter().enumerate() {
        let options = chosen(codec, rerank);
        let whole = SimDisk::new(1);
        run(&whole, &options).unwrap();
        let (right, operations) = (files(&whole), whole.operations());
        for at in some_of(way, operations) {
            let disk = SimDisk::new(at);
            disk.set_faults(Faults { at: vec![(at, Fault::FlipBit)], ..Faults::default() });
            match run(&disk, &options) {
                Ok(_) => assert_eq!(different(&files(&disk), &right), [""; 0], "{codec:?}, flipped at {at}"),
                Err(error) => assert!(matches!(error, IndexError::Storage(_)), "flipped at {at}: {error}"),
            }
        }
    }
}

#[test]
fn the_files_do_not_depend_on_threads_in_partitions_either() {
    for (codec, rerank) in WAYS {
        let one = SimDisk::new(1);
        run(&one, &chosen(codec, rerank)).unwrap();
        let two = SimDisk::new(1);
        run(&two, &BuildOptions { threads: 2, ..chosen(codec, rerank) }).unwrap();
        assert_eq!(different(&files(&one), &files(&two)), [""; 0]);
        let names: Vec<String> = files(&one).into_keys().collect();
        assert_eq!(
            names.contains(&"rows.000001".to_owned()),
            rerank && codec != Some(Codec::Raw),
            "{names:?}"
        );
        assert!(!names.iter().any(|name| name.starts_with("build.")), "{names:?}");
    }
}
