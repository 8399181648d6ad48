//! What of the lists is held in RAM, how many queries are under way together, and in which order reads complete: none of
//! it changes what is answered.

use std::sync::LazyLock;

use nearline_index::*;
use nearline_storage::SimDisk;

use crate::common::*;

static SET: LazyLock<(Rows, Rows)> = LazyLock::new(|| Rows::generate(ElementType::F32, 5_000, 24, 24));

fn build_set(codec: Codec, metric: Metric, rerank: bool) -> SimDisk {
    let (codec, list_vectors) = (Some(codec), Some(24));
    build_sim(&SET.0, &BuildOptions { codec, list_vectors, rerank, ..options(metric) })
}

fn rabitq(bits: u8) -> Codec {
    Codec::Rabitq { bits }
}

/// Whether all rows are compared: if it is asked for, or nothing less is known to reach the target.
fn compares_all(info: &Info, asked: &SearchOptions) -> bool {
    let is_known = |target| info.calibration.setting(info.pinned.residency, asked.k, target).is_some();
    let wanted = match asked.probe {
        Probe::TargetRecall(target) => asked.rerank != Rerank::Never && !is_known(target),
        probe => probe == Probe::All,
    };
    info.has_rows && wanted
}

/// All that an answer says but for times and calls, which are the machine's.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    hits: Vec<Hit>,
    cut: bool,
    estimated_recall: Option<f32>,
    residency: Residency,
    counts: [u64; 7],
    /// Lists and pages that were not read, because the cache had them.
    cached: u64,
}

impl Said {
    fn of(answer: Answer) -> Self {
        let Cost { lists, lists_held, cached, reads, bytes, entries, refined, reranked, .. } = answer.cost;
        Self {
            hits: answer.hits,
            cut: answer.cut,
            // A budget may be spent before or after the last look at the estimate.
            estimated_recall: answer.estimated_recall.filter(|_| !answer.cut),
            residency: answer.residency,
            counts: [lists, lists_held, reads, bytes, entries, refined, reranked],
            cached,
        }
    }

    /// What does not depend on whether lists are held.
    fn found(&self) -> (&[Hit], Option<f32>, u64, u64, u64) {
        (&self.hits, self.estimated_recall, self.counts[0], self.counts[4], self.counts[5])
    }
}

/// All queries, so many together.
fn search(searcher: &mut Searcher, asked: &SearchOptions, overlap: usize) -> Vec<Said> {
    let queries: Vec<&[u8]> = SET.1.iter().collect();
    let mut found = vec![None; queries.len()];
    let mut keep = |i: usize, answer| assert!(found[i].replace(Said::of(answer)).is_none(), "twice: {i}");
    searcher.search_many(&queries, asked, overlap, &mut keep).unwrap();
    found.into_iter().map(|said| said.expect("an answer for each query")).collect()
}

/// All queries, one by one.
fn one_by_one(searcher: &mut Searcher, asked: &SearchOptions) -> Vec<Said> {
    SET.1.iter().map(|query| Said::of(searcher.search(query, asked).unwrap())).collect()
}

/// Everything that can be asked for.
fn questions() -> Vec<SearchOptions> {
    let mut all = Vec::new();
    for rerank in [Rerank::Calibrated, Rerank::Exact, Rerank::Never] {
        for probe in [Probe::TargetRecall(0.8), Probe::TargetRecall(0.98), Probe::Lists(7), Probe::All] {
            for k in [1, 10, 100] {
                all.push(SearchOptions { rerank, ..ask(k, probe) });
            }
        }
    }
    let budget =
        |bytes, k| SearchOptions { max_bytes_read: Some(bytes), ..ask(k, Probe::TargetRecall(0.99)) };
    all.extend([budget(0, 10), budget(30_000, 1), budget(60_000, 10), budget(200_000, 100)]);
    all
}

/// Ways to hold lists, without a cache: nothing, each residency with all it can hold, and with as much as fits some memory.
fn pins(codec: Codec, rerank: bool) -> Vec<OpenOptions> {
    let possible = |residency: &Residency| match residency {
        Residency::Lists => true,
        Residency::Signs => codec != Codec::Raw && rerank,
        Residency::Codes => codec != Codec::Raw,
    };
    let uncached = OpenOptions { cache_bytes: Some(0), ..OpenOptions::default() };
    let mut all = vec![OpenOptions { pin: Pin::Nothing, ..uncached }];
    for residency in Residency::ALL.into_iter().filter(possible) {
        all.push(OpenOptions { pin: Pin::Residency(residency), ..uncached });
    }
    // A little more than the least, for a part of the lists.
    let memory_bytes = Some((14 << 20) + 200_000);
    all.push(OpenOptions { memory_bytes, pin: Pin::Residency(Residency::Lists), ..uncached });
    all.push(OpenOptions { memory_bytes, ..uncached });
    if possible(&Residency::Signs) {
        all.push(OpenOptions { memory_bytes, pin: Pin::Residency(Residency::Signs), ..uncached });
    }
    all
}

const SETS: [(Codec, Metric, bool); 5] = [
    (Codec::Raw, Metric::L2, true),
    (Codec::Rabitq { bits: 1 }, Metric::L2, true),
    (Codec::Rabitq { bits: 4 }, Metric::InnerProduct, true),
    (Codec::Rabitq { bits: 7 }, Metric::Cosine, true),
    (Codec::Rabitq { bits: 4 }, Metric::L2, false),
];

#[test]
fn queries_under_way_together_are_answered_like_one_by_one() {
    for (codec, metric, rerank) in SETS {
        let disk = build_set(codec, metric, rerank);
        for opened in pins(codec, rerank) {
            let index = open_with(&disk, &opened).unwrap();
            let (mut alone, mut together) = (index.searcher(), index.searcher());
            for (i, asked) in questions().iter().enumerate() {
                let right = one_by_one(&mut alone, asked);
                // All widths for some, some for all.
                let widths: &[usize] = if i % 5 == 0 { &[1, 2, 3, 4, 5, 6, 7, 8, 100] } else { &[1 + i % 8] };
                for &overlap in widths {
                    let found = search(&mut together, asked, overlap);
                    assert_eq!(found, right, "{codec} {metric}, {overlap} together, {opened:?}, {asked:?}");
                }
            }
        }
    }
}

#[test]
fn answers_do_not_depend_on_the_order_in_which_reads_complete() {
    for (codec, metric, rerank) in SETS {
        let built = files(&build_set(codec, metric, rerank));
        let mut right: Vec<Vec<Said>> = Vec::new();
        for (seed, small) in [(1, false), (2, false), (3, true), (4, true)] {
            let disk = SimDisk::new(seed);
            copy_to(&disk, &built);
            // With little memory there is room for few reads at a time, too.
            let memory_bytes = small.then(|| least_memory(&disk));
            let opened = OpenOptions { memory_bytes, pin: Pin::Nothing, ..OpenOptions::default() };
            let mut searcher = open_with(&disk, &opened).unwrap().searcher();
            let found: Vec<Vec<Said>> =
                questions().iter().map(|asked| search(&mut searcher, asked, 1 + seed as usize)).collect();
            if right.is_empty() {
                right = found;
                continue;
            }
            for ((asked, found), right) in questions().iter().zip(found).zip(&right) {
                assert_eq!(&found, right, "{codec} {metric}, disk {seed}, {asked:?}");
            }
        }
    }
}

fn copy_to(disk: &SimDisk, files: &std::collections::BTreeMap<String, Vec<u8>>) {
    use nearline_storage::Disk;
    for (name, bytes) in files {
        disk.create(name).unwrap().write_at(0, bytes).unwrap();
    }
}

/// The least memory an index opens with.
fn least_memory(disk: &SimDisk) -> u64 {
    match open_with(disk, &OpenOptions { memory_bytes: Some(1), ..OpenOptions::default() }) {
        Err(IndexError::Budget { needed, .. }) => needed,
        other => panic!("opened with a byte: {other:?}"),
    }
}

#[test]
fn lists_that_are_held_are_answered_from_like_lists_that_are_read() {
    for (codec, metric, rerank) in SETS {
        let disk = build_set(codec, metric, rerank);
        let open = |pin| open_with(&disk, &OpenOptions { pin, ..OpenOptions::default() }).unwrap();
        let (none, all) = (open(Pin::Nothing), open(Pin::Residency(Residency::Lists)));
        let (pinned, info) = (all.info().pinned, none.info());
        assert_eq!((pinned.residency, pinned.lists), (Residency::Lists, info.lists));
        assert_eq!((info.pinned.lists, info.pinned.bytes), (0, 0));
        let entries = info.entries * if codec == Codec::Raw { 4 + 96 } else { 16 };
        assert!(pinned.bytes > entries, "{pinned:?}");
        let (mut none, mut all) = (none.searcher(), all.searcher());
        for asked in questions().iter().filter(|asked| asked.max_bytes_read.is_none()) {
            let (read, held) = (one_by_one(&mut none, asked), one_by_one(&mut all, asked));
            for (read, held) in read.iter().zip(&held) {
                assert_eq!(read.found(), held.found(), "{codec} {metric}, {asked:?}");
                let from_rows = compares_all(info, asked);
                assert_eq!(held.counts[1], if from_rows { 0 } else { held.counts[0] });
                assert_eq!(read.counts[1], 0);
                // What is read besides are rows.
                assert_eq!(read.counts[6], held.counts[6]);
                assert!(held.counts[2] <= held.counts[6], "{held:?}");
            }
        }
    }
}

#[test]
fn with_everything_probed_every_residency_gives_the_exact_answer() {
    for (codec, metric, rerank) in SETS.into_iter().filter(|(.., rerank)| *rerank) {
        let disk = build_set(codec, metric, rerank);
        for opened in pins(codec, rerank) {
            let mut searcher = open_with(&disk, &opened).unwrap().searcher();
            for query in SET.1.iter().take(6) {
                assert_eq!(search_all(&mut searcher, query, 10), brute_force(metric, &SET.0, query, 10));
            }
        }
    }
}

#[test]
fn exact_answers_have_the_distances_of_the_scorer_and_estimates_say_so() {
    for (codec, metric, rerank) in SETS {
        let disk = build_set(codec, metric, rerank);
        for opened in pins(codec, rerank) {
            let index = open_with(&disk, &opened).unwrap();
            let mut searcher = index.searcher();
            // Of which only signs are held has to be read to be named.
            let unnamed = index.info().pinned.residency == Residency::Signs;
            for asked in questions() {
                for (query, said) in SET.1.iter().zip(one_by_one(&mut searcher, &asked)) {
                    let scorer = Scorer::new(metric, SET.0.shape, query);
                    for hit in &said.hits {
                        let mut distance = [0.0];
                        scorer.distances(SET.0.row(hit.row.0 as usize), &mut distance);
                        assert!(!hit.exact || hit.distance == distance[0], "{hit:?} is at {distance:?}");
                        assert_eq!(hit.id, u64::from(hit.row.0));
                    }
                    let all = said.hits.iter().all(|hit| hit.exact);
                    let none = said.hits.iter().all(|hit| !hit.exact);
                    let scanned = compares_all(index.info(), &asked);
                    match (codec, asked.rerank) {
                        (Codec::Raw, _) => assert!(all),
                        _ if scanned => assert!(all, "{asked:?}"),
                        _ if !rerank => assert!(none, "{asked:?}"),
                        (_, Rerank::Exact) if !said.cut => assert!(all, "{opened:?} {asked:?} {said:?}"),
                        (_, Rerank::Never) if unnamed => {}
                        (_, Rerank::Never) => assert!(none && said.counts[6] == 0, "{asked:?}"),
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn bytes_read_stay_within_the_budget_and_answers_say_what_was_cut() {
    for (codec, metric, rerank) in SETS {
        let disk = build_set(codec, metric, rerank);
        for opened in pins(codec, rerank) {
            let mut searcher = open_with(&disk, &opened).unwrap().searcher();
            for probe in [Probe::TargetRecall(0.95), Probe::Lists(30), Probe::All] {
                for k in [1, 20] {
                    let free = one_by_one(&mut searcher, &ask(k, probe));
                    for budget in [0, 4_096, 20_000, 100_000, 1 << 20, u64::MAX] {
                        let asked = SearchOptions { max_bytes_read: Some(budget), ..ask(k, probe) };
                        for (said, free) in one_by_one(&mut searcher, &asked).iter().zip(&free) {
                            let (bytes, wanted) = (said.counts[3], free.counts[3]);
                            assert!(bytes <= budget, "{bytes} bytes, {budget} allowed: {asked:?}");
                            assert_eq!(
                                said.cut,
                                wanted > budget,
                                "{wanted} wanted, {budget} allowed, {asked:?}"
                            );
                            if !said.cut {
                                assert_eq!(said, free);
                            }
                            assert!(said.hits.len() <= k);
                            assert!(said.hits.windows(2).all(|two| two[0].distance <= two[1].distance));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_the_cache_has_is_not_read_and_changes_no_answer() {
    for (codec, metric, rerank) in SETS {
        let disk = build_set(codec, metric, rerank);
        for opened in pins(codec, rerank) {
            let mut plain = open_with(&disk, &opened).unwrap().searcher();
            // Room for all there is, and for a page or two in each of the cache's shards.
            for cache_bytes in [16 << 20, 160_000] {
                let cached = OpenOptions { memory_bytes: None, cache_bytes: Some(cache_bytes), ..opened };
                // With more memory more would be held for good.
                let cached = if opened.memory_bytes.is_some() { opened } else { cached };
                let index = open_with(&disk, &cached).unwrap();
                let (mut alone, mut together) = (index.searcher(), index.searcher());
                let unbounded = |asked: &SearchOptions| asked.max_bytes_read.is_none();
                for asked in questions().into_iter().filter(unbounded).step_by(3) {
                    let right = one_by_one(&mut plain, &asked);
                    check_cached(&right, &one_by_one(&mut alone, &asked), &asked);
                    check_cached(&right, &search(&mut together, &asked, 5), &asked);
                }
                let asked = ask(10, Probe::Lists(7));
                one_by_one(&mut alone, &asked);
                let again = one_by_one(&mut alone, &asked);
                if cached.cache_bytes == Some(16 << 20) {
                    assert!(again.iter().all(|said| said.counts[2] == 0), "{codec} {opened:?}");
                }
            }
        }
    }
}

fn check_cached(right: &[Said], found: &[Said], asked: &SearchOptions) {
    for (right, found) in right.iter().zip(found) {
        assert_eq!(right.found(), found.found(), "{asked:?}");
        assert_eq!(right.counts[2], found.counts[2] + found.cached, "reads and cached: {asked:?}");
    }
}

#[test]
fn memory_that_holds_no_list_for_good_keeps_what_was_read() {
    let disk = build_set(rabitq(4), Metric::L2, true);
    let memory_bytes = Some(least_memory(&disk) + 250_000);
    let opened = OpenOptions { memory_bytes, ..OpenOptions::default() };
    let in_part = open_with(&disk, &OpenOptions { pin: Pin::Residency(Residency::Lists), ..opened }).unwrap();
    let (pinned, cache) = (in_part.info().pinned, in_part.info().cache_bytes);
    assert!(pinned.lists > 0 && pinned.lists < in_part.info().lists, "{pinned:?}");
    assert!(cache * 5 > pinned.bytes && cache < pinned.bytes, "{cache} beside {pinned:?}");
    for none in [OpenOptions::default(), OpenOptions { pin: Pin::Nothing, ..opened }] {
        assert_eq!(open_with(&disk, &none).unwrap().info().cache_bytes, 0);
    }
}

#[test]
fn a_query_without_time_reads_nothing_more() {
    let disk = build_set(rabitq(4), Metric::L2, true);
    let mut searcher = open_sim(&disk).unwrap().searcher();
    for probe in [Probe::TargetRecall(0.95), Probe::Lists(200), Probe::All] {
        let asked = SearchOptions { max_us: Some(0), ..ask(10, probe) };
        let answer = searcher.search(SET.1.row(0), &asked).unwrap();
        assert!(answer.cut, "{answer:?}");
        let long = SearchOptions { max_us: Some(u64::MAX - 1), ..ask(10, probe) };
        assert!(!searcher.search(SET.1.row(0), &long).unwrap().cut);
    }
}

#[test]
fn an_index_without_rows_answers_from_its_codes() {
    let mut recalls = Vec::new();
    for bits in [1, 4, 8] {
        let disk = build_set(rabitq(bits), Metric::L2, false);
        assert!(!files(&disk).keys().any(|name| name.starts_with("rows")));
        let index = open_sim(&disk).unwrap();
        assert!(!index.info().has_rows);
        let pin = Pin::Residency(Residency::Signs);
        let refused = open_with(&disk, &OpenOptions { pin, ..OpenOptions::default() }).unwrap_err();
        assert!(refused.to_string().starts_with("--pin: signs; expected lists"), "{refused}");
        let mut searcher = index.searcher();
        let mut right = 0;
        for query in SET.1.iter() {
            let answer = searcher.search(query, &ask(10, Probe::All)).unwrap();
            assert_eq!((answer.hits.len(), answer.cost.reranked), (10, 0));
            assert_eq!(answer.cost.lists, index.info().lists);
            right += right_of(&answer, Metric::L2, &SET.0, query);
        }
        recalls.push(right as f64 / (10.0 * SET.1.len() as f64));
    }
    assert!(recalls[0] > 0.4 && recalls[1] > 0.85 && recalls[2] > 0.98, "{recalls:?}");
    assert!(recalls.is_sorted());
    // Without a second look, all is up to the codes: `auto` takes as many bits as that needs.
    let auto = BuildOptions { rerank: false, ..options(Metric::L2) };
    let index = open_sim(&build_sim(&SET.0, &auto)).unwrap();
    let Codec::Rabitq { bits } = index.info().codec else { panic!("{:?}", index.info().codec) };
    assert!(bits >= 5 && !index.info().has_rows, "{bits} bits");
}

#[test]
fn pins_that_cannot_be_are_refused() {
    let raw = build_set(Codec::Raw, Metric::L2, true);
    for residency in [Residency::Signs, Residency::Codes] {
        let pin = Pin::Residency(residency);
        let refused = open_with(&raw, &OpenOptions { pin, ..OpenOptions::default() }).unwrap_err();
        assert!(refused.to_string().starts_with("--pin: "), "{refused}");
    }
    let coded = build_set(rabitq(8), Metric::L2, true);
    let memory_bytes = Some(least_memory(&coded));
    for residency in [Residency::Signs, Residency::Codes] {
        let pin = Pin::Residency(residency);
        let refused = open_with(&coded, &OpenOptions { pin, memory_bytes, ..OpenOptions::default() });
        assert!(matches!(refused, Err(IndexError::Budget { what: "what --pin names", .. })), "{refused:?}");
    }
    // As many lists as fit are fewer than all, but not refused.
    let pin = Pin::Residency(Residency::Lists);
    let index = open_with(&coded, &OpenOptions { pin, memory_bytes, ..OpenOptions::default() }).unwrap();
    assert!(index.info().pinned.lists < index.info().lists);
}

#[test]
fn a_target_holds_whatever_is_held() {
    let (rows, queries) = Rows::generate(ElementType::F32, 25_000, 32, 1_000);
    // The distances of the neighbours, found once.
    let truth: Vec<Vec<f32>> = queries
        .iter()
        .map(|query| brute_force(Metric::L2, &rows, query, 100).into_iter().map(|pair| pair.1).collect())
        .collect();
    for codec in [Some(rabitq(4)), None] {
        let disk = build_own(&rows, &BuildOptions { codec, ..options(Metric::L2) });
        for residency in Residency::ALL {
            let opened = OpenOptions { pin: Pin::Residency(residency), ..OpenOptions::default() };
            let index = open_with(&disk, &opened).unwrap();
            assert_eq!(index.info().pinned.residency, residency);
            check_targets(&index, &rows, &queries, &truth);
        }
        check_targets(&open_sim(&disk).unwrap(), &rows, &queries, &truth);
    }
}

fn check_targets(index: &Index, rows: &Rows, queries: &Rows, truth: &[Vec<f32>]) {
    let mut searcher = index.searcher();
    let all: Vec<&[u8]> = queries.iter().collect();
    for k in [1, 10, 100] {
        for target in [0.8, 0.9, 0.95, 0.99] {
            let (mut right, mut lists) = (0, 0);
            let mut keep = |i: usize, answer: Answer| {
                right += within(&answer, Metric::L2, rows, all[i], truth[i][k - 1]);
                lists += answer.cost.lists;
            };
            searcher.search_many(&all, &ask(k, Probe::TargetRecall(target)), 4, &mut keep).unwrap();
            let recall = right as f32 / (k * all.len()) as f32;
            let (codec, residency) = (index.info().codec, index.info().pinned.residency);
            println!("{codec} {residency:?} k {k} target {target}: {recall}, {lists} lists");
            assert!(recall >= target - 0.02, "{codec} {residency:?}, k {k}: {recall} at {target}");
        }
    }
}
