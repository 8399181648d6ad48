//! Searching every list is a scan of everything, and a build loses nothing, whatever the threads and the memory.

use std::sync::Arc;

use nearline_datasets::catalog;
use nearline_index::*;
use nearline_storage::SimDisk;
use proptest::prelude::*;

use crate::common::*;

/// Builds, then compares searches of everything with the naive twin.
fn check(rows: &Rows, queries: &Rows, options: &BuildOptions<'_>, ks: &[usize]) -> Index {
    let disk = build_sim(rows, options);
    let index = open_sim(&disk).unwrap();
    let mut searcher = index.searcher();
    for query in queries.iter() {
        for &k in ks {
            let found = search_all(&mut searcher, query, k);
            let right = brute_force(options.metric, rows, query, k);
            assert_eq!(found, right, "{} {}, {} rows, k {k}", options.metric, rows.shape.element, rows.len());
        }
        // The same by way of the lists: with room for all, no candidate is lost to an estimate.
        let lists = SearchOptions {
            k: rows.len(),
            probe: Probe::Lists(usize::MAX),
            rerank: Rerank::Exact,
            ..SearchOptions::default()
        };
        let found = pairs(&searcher.search(query, &lists).unwrap());
        let right = brute_force(options.metric, rows, query, rows.len());
        assert_eq!(found, right, "{} {}, {} rows, by lists", options.metric, rows.shape.element, rows.len());
    }
    let info = index.info();
    assert_eq!(info.has_rows, info.codec != Codec::Raw && options.rerank);
    let settled = BuildOptions { codec: Some(info.codec), ..*options };
    let cap = plan(&rows.source(), &settled).unwrap().list_cap as u64;
    assert!(info.list_entries_max <= cap, "{} entries, {cap} allowed", info.list_entries_max);
    assert!(info.entries >= info.rows && info.rows == rows.len() as u64);
    index
}

#[test]
fn all_lists_give_the_exact_answer_for_every_element_and_metric() {
    for element in ELEMENTS {
        let (rows, queries) = Rows::generate(element, 900, 13, 5);
        for metric in METRICS {
            for codec in CODECS {
                let chosen = BuildOptions { codec, ..options(metric) };
                let index = check(&rows, &queries, &chosen, &[1, 10, 900]);
                assert!(index.info().entries > 900, "{element} {metric}: no copies at all");
                assert!(index.info().nodes > 1, "{element} {metric}: a router of one node");
            }
        }
    }
}

#[test]
fn ties_are_broken_by_row() {
    for element in ELEMENTS {
        let (rows, queries) = Rows::generate(element, 150, 6, 3);
        // Each vector four times, far apart in the input.
        for metric in METRICS {
            for codec in CODECS {
                let chosen = BuildOptions { codec, ..options(metric) };
                check(&rows.repeated(4), &queries, &chosen, &[1, 7, 600]);
            }
        }
    }
}

#[test]
fn thousands_of_identical_vectors_are_all_kept() {
    for element in [ElementType::F32, ElementType::U8] {
        let rows = Rows::of(element, 3, &[1.0, 2.0, 3.0]).repeated(5_000);
        for metric in METRICS {
            for codec in CODECS {
                let chosen = BuildOptions { codec, ..options(metric) };
                let index = check(&rows, &Rows::of(element, 3, &[3.0, 1.0, 1.0]), &chosen, &[1, 5_000]);
                assert!(index.info().lists > 1, "the one list was not split");
            }
        }
    }
}

#[test]
fn the_smallest_indexes_are_exact() {
    for (count, dim) in [(1, 1), (1, 5), (2, 1), (2, 3), (3, 2), (17, 1), (33, 2)] {
        for element in ELEMENTS {
            let (rows, queries) = Rows::generate(element, count, dim, 2);
            for metric in METRICS {
                check(&rows, &queries, &options(metric), &[1, count]);
                check(&rows, &queries, &raw(metric), &[1, count]);
            }
        }
    }
}

#[test]
fn long_vectors_are_exact() {
    for element in ELEMENTS {
        let (rows, queries) = Rows::generate(element, 60, 4_096, 2);
        check(&rows, &queries, &options(Metric::InnerProduct), &[1, 60]);
        check(&rows, &queries, &raw(Metric::InnerProduct), &[1, 60]);
    }
    let longest = Rows::generate(ElementType::U8, 5, DIM_MAX, 1);
    check(&longest.0, &longest.1, &options(Metric::L2), &[1, 5]);
    check(&longest.0, &longest.1, &raw(Metric::L2), &[1, 5]);
}

#[test]
fn values_at_the_end_of_the_range_lose_no_vector() {
    let big = [f32::MAX, f32::MIN, 0.0, 1.0, f32::MIN_POSITIVE, -1e-45, 3e38, -3e38];
    let values: Vec<f32> = (0..400).map(|i| big[(i * i + i / 7) % big.len()]).collect();
    let rows = Rows::of(ElementType::F32, 2, &values);
    for metric in [Metric::L2, Metric::InnerProduct] {
        for query in [[1.0f32, -1.0], [f32::MAX, f32::MAX], [0.0, 0.0]] {
            for codec in CODECS {
                let chosen = BuildOptions { codec, ..options(metric) };
                check(&rows, &Rows::of(ElementType::F32, 2, &query), &chosen, &[1, 200]);
            }
        }
    }
}

#[test]
fn the_files_do_not_depend_on_the_number_of_threads() {
    for (element, metric) in [
        (ElementType::F32, Metric::L2),
        (ElementType::F16, Metric::InnerProduct),
        (ElementType::U8, Metric::L2),
        (ElementType::I8, Metric::Cosine),
    ] {
        let (rows, _) = Rows::generate(element, 3_000, 24, 0);
        for codec in CODECS {
            let chosen = BuildOptions { codec, ..options(metric) };
            let one = build_sim(&rows, &BuildOptions { threads: 1, ..chosen });
            let two = build_sim(&rows, &BuildOptions { threads: 2, ..chosen });
            assert_eq!(different(&files(&one), &files(&two)), [""; 0], "{element} {metric}");
            let other = build_sim(&rows, &BuildOptions { seed: 2, ..chosen });
            assert_ne!(different(&files(&one), &files(&other)), [""; 0], "the seed decides nothing");
        }
    }
}

#[test]
fn rows_that_are_held_out_for_calibration_do_not_depend_on_threads() {
    let (rows, _) = Rows::generate(ElementType::F32, 250, 24, 0);
    for codec in CODECS {
        let chosen = BuildOptions { codec, ..options(Metric::L2) };
        let one = build_own(&rows, &BuildOptions { threads: 1, ..chosen });
        let two = build_own(&rows, &BuildOptions { threads: 2, ..chosen });
        assert_eq!(different(&files(&one), &files(&two)), [""; 0]);
    }
}

#[test]
fn a_folder_on_the_real_disk_has_the_bytes_of_the_simulated_one() {
    let (rows, queries) = Rows::generate(ElementType::F32, 1_200, 16, 4);
    let dir = folder();
    let chosen = BuildOptions { calibration_queries: Some(&queries.source()), ..options(Metric::Cosine) };
    build(dir.path(), &rows.source(), &chosen, &Silent).unwrap();
    let sim = build_sim(&rows, &chosen);
    assert_eq!(different(&files_in(dir.path()), &files(&sim)), [""; 0]);
    let index =
        Index::open(dir.path(), &OpenOptions { io: options(Metric::L2).io, ..OpenOptions::default() });
    let mut searcher = index.unwrap().searcher();
    for query in queries.iter() {
        let right = brute_force(Metric::Cosine, &rows, query, 10);
        assert_eq!(search_all(&mut searcher, query, 10), right);
    }
    let report = verify(dir.path(), options(Metric::L2).io, &mut |_, _| {}).unwrap();
    assert_eq!(report.problems, []);
}

#[test]
fn a_small_budget_changes_the_way_but_not_the_answers() {
    let (rows, queries) = Rows::generate(ElementType::F32, 60_000, 24, 3);
    for codec in CODECS {
        let small = BuildOptions { codec, memory_bytes: 8 << 20, ..options(Metric::L2) };
        let plan = plan(&rows.source(), &small).unwrap();
        assert!(plan.partitions > 2 && plan.sample_rows < 60_000, "{plan:?}");
        assert!(plan.memory_bytes <= small.memory_bytes);
        check(&rows, &queries, &small, &[10]);
    }
}

#[test]
fn ids_come_from_their_source() {
    struct Ids;
    impl IdSource for Ids {
        fn name(&self) -> String {
            "ids".to_owned()
        }
        fn count(&self) -> u64 {
            1_300
        }
        fn ids(&self, from: u64, out: &mut [u64]) -> Result<(), SourceError> {
            out.iter_mut().zip(from..).for_each(|(id, row)| *id = u64::MAX - 3 * row);
            Ok(())
        }
    }
    let (rows, queries) = Rows::generate(ElementType::U8, 1_300, 8, 2);
    let disk = build_sim(&rows, &BuildOptions { ids: Some(&Ids), ..options(Metric::L2) });
    let index = open_sim(&disk).unwrap();
    assert!(index.info().has_ids);
    let mut searcher = index.searcher();
    let all = ask(1_300, Probe::All);
    let answer = searcher.search(queries.row(0), &all).unwrap();
    assert_eq!(answer.hits.len(), 1_300);
    assert!(answer.hits.iter().all(|hit| hit.id == u64::MAX - 3 * u64::from(hit.row.0)));
}

#[test]
fn a_resident_copy_answers_like_its_maker() {
    let (rows, queries) = Rows::generate(ElementType::F16, 500, 10, 3);
    let disk = build_sim(&rows, &options(Metric::L2));
    let moved = sim_of(&files(&disk));
    let mut searcher = open_sim(&moved).unwrap().clone().searcher();
    for query in queries.iter() {
        assert_eq!(search_all(&mut searcher, query, 20), brute_force(Metric::L2, &rows, query, 20));
    }
}

#[test]
fn calibrated_searches_read_less_than_everything_and_reach_their_target() {
    let (rows, queries) = Rows::generate(ElementType::F32, 6_000, 24, 200);
    for codec in CODECS {
        let disk = build_own(&rows, &BuildOptions { codec, list_vectors: Some(16), ..options(Metric::L2) });
        check_targets(&open_sim(&disk).unwrap(), &rows, &queries);
    }
}

fn check_targets(index: &Index, rows: &Rows, queries: &Rows) {
    let mut searcher = index.searcher();
    let mut before = 0;
    for target in CALIBRATED_TARGETS {
        let (mut found, mut lists) = (0, 0);
        for query in queries.iter() {
            let asked = ask(10, Probe::TargetRecall(target));
            let answer = searcher.search(query, &asked).unwrap();
            found += right_of(&answer, Metric::L2, rows, query);
            lists += answer.cost.lists;
        }
        let recall = found as f32 / (10 * queries.len()) as f32;
        assert!(recall >= target - 0.01, "{recall} at {target}");
        assert!(lists >= before, "a higher target probed fewer lists");
        before = lists;
    }
    assert!(before < index.info().lists * queries.len() as u64 / 2, "{before} lists: nearly everything");
}

/// What lists may hold, and what is best.
const ALL_CODECS: [Option<Codec>; 6] = [
    None,
    Some(Codec::Raw),
    Some(Codec::Rabitq { bits: 1 }),
    Some(Codec::Rabitq { bits: 2 }),
    Some(Codec::Rabitq { bits: 5 }),
    Some(Codec::Rabitq { bits: 8 }),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_small_set_with_any_options_is_searched_exactly(
        count in 1usize..400,
        dim in 1usize..20,
        duplicates in 1usize..4,
        replicas in 1usize..=8,
        list_vectors in prop::option::of(1usize..40),
        codec in prop::sample::select(ALL_CODECS.to_vec()),
        rng in any::<bool>(),
        element in prop::sample::select(ELEMENTS.to_vec()),
        metric in prop::sample::select(METRICS.to_vec()),
        seed in any::<u64>(),
    ) {
        let (rows, queries) = Rows::generate(element, count, dim, 2);
        let rows = rows.repeated(duplicates);
        let copy_rule = if rng { CopyRule::Rng } else { CopyRule::default() };
        let replicas = Some(replicas);
        let chosen = BuildOptions { codec, replicas, copy_rule, list_vectors, seed, ..options(metric) };
        check(&rows, &queries, &chosen, &[1, rows.len().min(5), rows.len()]);
    }
}

#[test]
fn real_vectors_are_found_again() {
    let Some(catalog) = catalog::open() else { return };
    let Some(set) = catalog.find("cranfield") else { return };
    let raw = nearline_datasets::load_raw(&set.base).unwrap();
    let rows = Rows { shape: Shape { element: ElementType::F16, dim: raw.dim }, bytes: raw.bytes };
    let disk = SimDisk::new(5);
    build_on(Arc::new(disk.clone()), &rows.source(), &options(Metric::Cosine), &Silent).unwrap();
    let mut searcher = open_sim(&disk).unwrap().searcher();
    for row in (0..rows.len()).step_by(97) {
        let asked = SearchOptions { rerank: Rerank::Exact, ..ask(1, Probe::Lists(1)) };
        let answer = searcher.search(rows.row(row), &asked).unwrap();
        assert!(answer.hits[0].distance < 1e-6, "row {row}: {:?}", answer.hits);
    }
}
