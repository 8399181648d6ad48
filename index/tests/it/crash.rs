//! The power goes at every operation of a build, and the disk fails in every way it can.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use nearline_index::*;
use nearline_storage::{Fault, Faults, SimDisk};

use crate::common::*;

type Files = BTreeMap<String, Vec<u8>>;

struct Numbers(u64);

impl IdSource for Numbers {
    fn name(&self) -> String {
        "numbers".to_owned()
    }
    fn count(&self) -> u64 {
        self.0
    }
    fn ids(&self, from: u64, out: &mut [u64]) -> Result<(), SourceError> {
        out.iter_mut().zip(from..).for_each(|(id, row)| *id = row + 7);
        Ok(())
    }
}

const COUNT: usize = 300;
static IDS: Numbers = Numbers(COUNT as u64);

static ROWS: LazyLock<Rows> = LazyLock::new(|| Rows::generate(ElementType::F32, COUNT, 5, 0).0);

/// A few queries to calibrate with, so that a build takes little time.
static QUERIES: LazyLock<Vec<f32>> = LazyLock::new(|| (0..15).map(|i| i as f32 * 0.05).collect());

fn plain() -> BuildOptions<'static> {
    static SOURCE: LazyLock<VectorSlice<'static>> =
        LazyLock::new(|| VectorSlice::from_f32(5, &QUERIES).unwrap());
    BuildOptions { calibration_queries: Some(&*SOURCE), ..with_own_queries() }
}

/// Rows of the data stand in for queries.
fn with_own_queries() -> BuildOptions<'static> {
    let memory_bytes = 5 << 20;
    BuildOptions { threads: 1, ids: Some(&IDS), list_vectors: Some(12), memory_bytes, ..options(Metric::L2) }
}

fn run(disk: &SimDisk, options: &BuildOptions<'_>) -> Result<BuildReport> {
    build_on(Arc::new(disk.clone()), &ROWS.source(), options, &Silent)
}

/// The files of an undisturbed build, and how many operations it took.
fn undisturbed(options: &BuildOptions<'_>) -> (Files, u64) {
    let disk = SimDisk::new(1);
    run(&disk, options).unwrap();
    let operations = disk.operations();
    (files(&disk), operations)
}

/// What opens is a whole index.
fn whole(index: &Index) {
    let found = search_all(&mut index.searcher(), ROWS.row(0), COUNT);
    assert_eq!(found, brute_force(Metric::L2, &ROWS, ROWS.row(0), COUNT));
}

/// The folder is no index yet, or all of one. Says which.
fn nothing_or_whole(disk: &SimDisk, when: &str) -> bool {
    match open_sim(disk) {
        Ok(index) => {
            whole(&index);
            true
        }
        Err(IndexError::NotAnIndex { .. }) => false,
        Err(error) => panic!("{when}: {error}"),
    }
}

/// Finishes what an interrupted build left; the files are then those of an undisturbed one.
fn finish(disk: &SimDisk, options: &BuildOptions<'_>, right: &Files, when: &str) {
    match run(disk, &BuildOptions { resume: true, force: false, ..*options }) {
        Ok(_) => {}
        Err(IndexError::Occupied { found: "a finished index", .. }) => {}
        Err(error) => panic!("{when}: {error}"),
    }
    assert_eq!(different(&files(disk), right), [""; 0], "{when}");
}

#[test]
fn a_build_that_loses_power_anywhere_is_resumed_to_the_same_bytes() {
    let (right, operations) = undisturbed(&plain());
    println!("{operations} operations");
    let mut opened = 0;
    for at in 1..=operations {
        let disk = SimDisk::new(at);
        disk.crash_at(at);
        run(&disk, &plain()).expect_err("a build without power");
        disk.crash(at * 31);
        opened += u64::from(nothing_or_whole(&disk, &format!("power lost at {at}")));
        finish(&disk, &plain(), &right, &format!("power lost at {at} of {operations}"));
    }
    assert!(opened > 0 && opened < operations / 2, "{opened} of {operations} opened");
}

#[test]
fn a_build_that_loses_power_again_and_again_ends_with_the_same_bytes() {
    let (right, operations) = undisturbed(&with_own_queries());
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let mut chance = seed;
        for _ in 0..6 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            disk.crash_at(disk.operations() + 1 + (chance >> 33) % (operations * 3 / 4));
            let died = run(&disk, &BuildOptions { resume: true, ..with_own_queries() });
            disk.crash(chance);
            nothing_or_whole(&disk, &format!("seed {seed}"));
            if died.is_ok() {
                break;
            }
        }
        finish(&disk, &with_own_queries(), &right, &format!("seed {seed}"));
    }
}

#[test]
fn a_replacement_that_loses_power_anywhere_leaves_the_old_index_or_the_new_one() {
    let old = BuildOptions { list_vectors: Some(25), ids: None, ..plain() };
    let new = BuildOptions { force: true, ..plain() };
    let (before, _) = undisturbed(&old);
    let disk = sim_of(&before);
    let start = disk.operations();
    run(&disk, &new).unwrap();
    let operations = disk.operations() - start;
    let after = files(&disk);
    let (mut olds, mut news) = (0, 0);
    for at in 1..=operations {
        let disk = sim_of(&before);
        disk.crash_at(disk.operations() + at);
        run(&disk, &new).expect_err("a build without power");
        disk.crash(at * 17);
        let when = format!("power lost at {at} of {operations}");
        let index = open_sim(&disk).unwrap_or_else(|error| panic!("{when}: {error}"));
        whole(&index);
        match index.info().generation {
            1 => olds += 1,
            2 => news += 1,
            other => panic!("{when}: generation {other}"),
        }
        let generation = index.info().generation;
        drop(index);
        // Before the new build has left its first trace, there is nothing to resume.
        let resumed = run(&disk, &BuildOptions { resume: true, ..plain() });
        match resumed {
            Ok(_) => {}
            Err(IndexError::Occupied { found: "a finished index", .. }) if generation == 2 => {}
            Err(IndexError::Occupied { found: "a finished index", .. }) => drop(run(&disk, &new).unwrap()),
            Err(error) => panic!("{when}: {error}"),
        }
        assert_eq!(different(&files(&disk), &after), [""; 0], "{when}");
    }
    assert!(olds > 0 && news > 0, "{olds} old, {news} new");
}

#[test]
fn a_failure_anywhere_is_an_error_that_names_a_file_and_a_resumed_build_gets_over_it() {
    let (right, operations) = undisturbed(&plain());
    for fault in [Fault::Io, Fault::NoSpace, Fault::LostSync, Fault::ShortRead] {
        for at in (1..=operations).step_by(3) {
            let disk = SimDisk::new(at);
            disk.set_faults(Faults { at: vec![(at, fault)], ..Faults::default() });
            let when = format!("{fault:?} at {at} of {operations}");
            if let Err(error) = run(&disk, &plain()) {
                let message = error.to_string();
                assert!(message.contains("/sim") && !message.contains('\n'), "{when}: {message}");
                assert!(matches!(error, IndexError::Storage(_)), "{when}: {message}");
            }
            nothing_or_whole(&disk, &when);
            finish(&disk, &plain(), &right, &when);
        }
    }
}

#[test]
fn a_bit_that_rots_while_a_build_reads_makes_no_panic() {
    let (_, operations) = undisturbed(&plain());
    for at in 1..=operations {
        let disk = SimDisk::new(at);
        disk.set_faults(Faults { at: vec![(at, Fault::FlipBit)], ..Faults::default() });
        if let Err(error) = run(&disk, &plain()) {
            assert!(matches!(error, IndexError::Storage(_)), "a bit flipped at {at}: {error}");
            continue;
        }
        // What opens may hold a row that is none, if the bit was one of a temporary file: an error then.
        let mut searcher = open_sim(&disk).unwrap().searcher();
        let asked = ask(COUNT, Probe::All);
        if let Err(error) = searcher.search(ROWS.row(0), &asked) {
            assert!(matches!(error, IndexError::Storage(_)), "a bit flipped at {at}: {error}");
        }
    }
}

#[test]
fn a_full_disk_stops_a_build_that_goes_on_once_there_is_space() {
    let (right, _) = undisturbed(&plain());
    let size: u64 = right.values().map(|bytes| bytes.len() as u64).sum();
    for space in (0..size).step_by(size as usize / 40) {
        let disk = SimDisk::new(space);
        disk.set_faults(Faults { space: Some(space), ..Faults::default() });
        let error = run(&disk, &plain()).expect_err("an index larger than its disk");
        assert!(error.to_string().contains("the disk is full"), "{space}: {error}");
        assert!(!nothing_or_whole(&disk, "a full disk"), "an index larger than its disk");
        disk.set_faults(Faults::default());
        finish(&disk, &plain(), &right, &format!("{space} bytes of space"));
    }
}
