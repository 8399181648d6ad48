//! What a search costs: one round of reads, few calls of the kernel, and counters that tell the truth.

use nearline_index::*;
use nearline_storage::{ExtentFile, IoMode, PAGE, SimDisk, read_blob};

use crate::common::*;

fn set() -> (Rows, Rows) {
    Rows::generate(ElementType::F32, 4_000, 16, 20)
}

/// Bytes and entries of every list, as the directory has them.
fn places(disk: &SimDisk) -> Vec<(u64, u64)> {
    let file = ExtentFile::open(disk, "directory.000001", *b"DIRE").unwrap();
    let range = nearline_storage::ReadRange { offset: PAGE as u64, bytes: file.len() as usize - PAGE };
    let bytes = read_blob(&file, 6, range).unwrap();
    let number =
        |place: &[u8], at: usize| u64::from(u32::from_le_bytes(place[at..at + 4].try_into().unwrap()));
    bytes.chunks_exact(24).map(|place| (number(place, 8), number(place, 12))).collect()
}

#[test]
fn all_probes_of_a_query_are_in_flight_together() {
    let (rows, queries) = set();
    let disk = build_sim(&rows, &raw(Metric::L2));
    let index = open_sim(&disk).unwrap();
    let lists = index.info().lists as usize;
    assert!(lists > 200, "{lists} lists");
    let mut searcher = index.searcher();
    for query in queries.iter() {
        for n in [1, 2, 17, 64, 200] {
            disk.clear_batches();
            let answer = searcher.search(query, &ask(10, Probe::Lists(n))).unwrap();
            assert_eq!(disk.batches(), [n], "one round, with every probe in it");
            assert_eq!((answer.cost.lists, answer.cost.reads, answer.cost.enters), (n as u64, n as u64, 1));
        }
        for target in CALIBRATED_TARGETS {
            disk.clear_batches();
            let answer = searcher.search(query, &ask(10, Probe::TargetRecall(target))).unwrap();
            // A window of lists: what one of them tells may make others needless.
            let batches = disk.batches();
            assert_eq!(batches.iter().sum::<usize>() as u64, answer.cost.lists);
            assert!(batches[0] as u64 >= answer.cost.lists.min(4), "{batches:?}");
        }
    }
}

#[test]
fn a_query_wider_than_the_window_keeps_it_full() {
    let (rows, queries) = Rows::generate(ElementType::F32, 9_000, 8, 3);
    let disk = build_sim(&rows, &raw(Metric::L2));
    let index = open_sim(&disk).unwrap();
    let lists = index.info().lists as usize;
    assert!(lists > 512, "{lists} lists");
    let mut searcher = index.searcher();
    for query in queries.iter() {
        disk.clear_batches();
        let answer = searcher.search(query, &ask(10, Probe::All)).unwrap();
        let batches = disk.batches();
        assert_eq!(batches[0], 256, "the first round fills the window");
        assert_eq!(batches.iter().sum::<usize>(), lists, "each list is read once");
        assert_eq!(answer.cost.reads, lists as u64);
        assert_eq!(pairs(&answer), brute_force(Metric::L2, &rows, query, 10));
    }
}

#[test]
fn counters_are_the_sums_of_what_the_directory_says() {
    let (rows, queries) = set();
    let disk = build_sim(&rows, &raw(Metric::L2));
    let places = places(&disk);
    let index = open_sim(&disk).unwrap();
    let info = index.info().clone();
    assert_eq!(places.len() as u64, info.lists);
    assert_eq!(places.iter().map(|place| place.1).sum::<u64>(), info.entries);
    assert_eq!(places.iter().map(|place| place.1).max(), Some(info.list_entries_max));
    let squares: u64 = places.iter().map(|place| place.1 * place.1).sum();
    assert_eq!(info.list_entries_weighted, squares as f64 / info.entries as f64);
    let mut searcher = index.searcher();
    let mut one_by_one = (0, 0);
    for (i, query) in queries.iter().enumerate() {
        let all = searcher.search(query, &ask(1, Probe::All)).unwrap().cost;
        assert_eq!((all.lists, all.reads, all.entries), (info.lists, info.lists, info.entries));
        assert_eq!(all.bytes, places.iter().map(|place| place.0).sum::<u64>());
        // What one more list adds is one of the places.
        let costs = [i + 1, i + 2].map(|n| searcher.search(query, &ask(1, Probe::Lists(n))).unwrap().cost);
        let added = (costs[1].bytes - costs[0].bytes, costs[1].entries - costs[0].entries);
        assert!(places.contains(&added), "{added:?} is no list");
        one_by_one = (one_by_one.0 + added.0, one_by_one.1 + added.1);
    }
    assert!(one_by_one.0 > 0 && one_by_one.1 > 0);
}

#[test]
fn a_searcher_bound_by_memory_gives_the_same_answers() {
    let (rows, queries) = set();
    for codec in CODECS {
        let disk = build_sim(&rows, &BuildOptions { codec, ..options(Metric::InnerProduct) });
        check_tight_memory(&disk, &queries);
    }
}

fn check_tight_memory(disk: &SimDisk, queries: &Rows) {
    let open = |memory_bytes| {
        let chosen = OpenOptions { memory_bytes, ..OpenOptions::default() };
        Index::open_on(std::sync::Arc::new(disk.clone()), &chosen)
    };
    let Err(IndexError::Budget { needed, allowed: 1, .. }) = open(Some(1)) else {
        panic!("opened with a byte")
    };
    assert!(matches!(open(Some(needed - 1)), Err(IndexError::Budget { .. })));
    let mut tight = open(Some(needed)).unwrap().searcher();
    let mut free = open(None).unwrap().searcher();
    for query in queries.iter() {
        for probe in [Probe::All, Probe::Lists(30), Probe::TargetRecall(0.95)] {
            let (a, b) = (tight.search(query, &ask(10, probe)), free.search(query, &ask(10, probe)));
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_eq!(a.hits, b.hits);
            assert_eq!((a.cost.reads, a.cost.bytes), (b.cost.reads, b.cost.bytes));
        }
    }
}

#[test]
fn a_query_enters_the_kernel_a_handful_of_times() {
    let (rows, queries) = set();
    let dir = folder();
    let chosen = BuildOptions { calibration_queries: Some(&queries.source()), ..raw(Metric::L2) };
    build(dir.path(), &rows.source(), &chosen, &Silent).unwrap();
    let chosen = OpenOptions { io: IoMode::from_env(), ..OpenOptions::default() };
    let index = Index::open(dir.path(), &chosen).unwrap();
    if !index.io().contains("io_uring") || IoMode::from_env() == IoMode::Pread {
        eprintln!("\n*** SKIPPED: io_uring does not work here: {} ***\n", index.io());
        return;
    }
    let mut searcher = index.searcher();
    for n in [1, 16, 64, 200] {
        let mut enters = Vec::new();
        for query in queries.iter() {
            let cost = searcher.search(query, &ask(10, Probe::Lists(n))).unwrap().cost;
            assert_eq!(cost.reads, n as u64);
            enters.push(cost.enters);
        }
        // How many reads are done by the time one looks is up to the disk: a busy one may need a call more.
        let (sum, most) = (enters.iter().sum::<u64>(), enters.iter().max().copied().unwrap_or(0));
        println!("{n} lists: {sum} calls for {} queries, {most} at most, {}", enters.len(), index.io());
        assert!(enters.iter().all(|&calls| calls >= 1) && sum <= 8 * enters.len() as u64 && most <= 16);
    }
}

#[test]
fn searchers_of_one_index_work_side_by_side() {
    let (rows, queries) = set();
    for codec in CODECS {
        let disk = build_sim(&rows, &BuildOptions { codec, ..options(Metric::Cosine) });
        let index = open_sim(&disk).unwrap();
        let search = || {
            let mut searcher = index.searcher();
            for query in queries.iter() {
                let right = brute_force(Metric::Cosine, &rows, query, 10);
                assert_eq!(search_all(&mut searcher, query, 10), right);
            }
        };
        std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(search))));
    }
}
