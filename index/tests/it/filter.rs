//! Searching among some of the vectors.

use nearline_index::*;

use crate::common::*;

const KS: [usize; 3] = [1, 10, 60];

fn rabitq(bits: u8) -> Codec {
    Codec::Rabitq { bits }
}

/// What may be answered: all, some at random, those near one place, a few, one, none.
fn choices(rows: &Rows) -> Vec<(&'static str, Vec<bool>)> {
    let n = rows.len();
    let random = |share: f64| {
        let hash = |row: usize| (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        (0..n).map(|row| (hash(row) as f64) < share * (1u64 << 53) as f64).collect::<Vec<bool>>()
    };
    let near = |count: usize| {
        let mut allowed = vec![false; n];
        let found = brute_force(Metric::L2, rows, rows.row(7), count);
        found.into_iter().for_each(|(row, _)| allowed[row as usize] = true);
        allowed
    };
    vec![
        ("all", vec![true; n]),
        ("most", random(0.9)),
        ("half", random(0.5)),
        ("a tenth", random(0.1)),
        ("a hundredth", random(0.01)),
        ("near a place", near(n / 20)),
        ("few", near(12)),
        ("one", near(1)),
        ("none", vec![false; n]),
    ]
}

/// The nearest of those allowed, by comparing all.
fn naive(metric: Metric, rows: &Rows, query: &[u8], allowed: &[bool], k: usize) -> Vec<(u32, f32)> {
    let all = brute_force(metric, rows, query, rows.len());
    all.into_iter().filter(|(row, _)| allowed[*row as usize]).take(k).collect()
}

#[test]
fn a_filter_is_kept_and_k_are_found_whenever_they_exist() {
    let (rows, queries) = Rows::generate(ElementType::F32, 3_000, 24, 12);
    let whole = OpenOptions { pin: Pin::Residency(Residency::Codes), ..OpenOptions::default() };
    let cases = [
        (Codec::Raw, Metric::L2, true, OpenOptions::default()),
        (rabitq(5), Metric::L2, true, OpenOptions::default()),
        (rabitq(5), Metric::L2, true, whole),
        (rabitq(3), Metric::InnerProduct, true, OpenOptions::default()),
        (rabitq(4), Metric::Cosine, false, whole),
    ];
    for (codec, metric, rerank, opened) in cases {
        let (codec_wanted, list_vectors) = (Some(codec), Some(24));
        let built = BuildOptions { codec: codec_wanted, list_vectors, rerank, ..options(metric) };
        let index = open_with(&build_sim(&rows, &built), &opened).unwrap();
        let mut searcher = index.searcher();
        for (name, allowed) in choices(&rows) {
            let count = allowed.iter().filter(|&&allowed| allowed).count();
            let allows = |row: RowId| allowed[row.0 as usize];
            // However wrong the share is.
            for share in [count as f32 / rows.len() as f32, 1.0, 0.001] {
                let filter = Filter { allows: &allows, share };
                for (query, k) in queries.iter().zip(KS.into_iter().cycle()) {
                    for probe in [Probe::TargetRecall(0.9), Probe::All, Probe::Lists(9)] {
                        let answer = searcher.search_where(query, &ask(k, probe), filter).unwrap();
                        let what = format!("{codec} {metric}, {name}, share {share}, k {k}, {probe:?}");
                        check(&answer, &allowed, k.min(count), probe, &what);
                        if probe == Probe::All && rerank {
                            let right = naive(metric, &rows, query, &allowed, k);
                            let found: Vec<f32> = answer.hits.iter().map(|hit| hit.distance).collect();
                            let right: Vec<f32> = right.iter().map(|pair| pair.1).collect();
                            assert_eq!(found, right, "{what}");
                        }
                    }
                }
            }
        }
    }
}

fn check(answer: &Answer, allowed: &[bool], wanted: usize, probe: Probe, what: &str) {
    assert!(answer.hits.iter().all(|hit| allowed[hit.row.0 as usize]), "{what}");
    let mut rows: Vec<u32> = answer.hits.iter().map(|hit| hit.row.0).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), answer.hits.len(), "{what}: a row twice");
    match probe {
        Probe::Lists(_) => assert!(rows.len() <= wanted, "{what}"),
        _ => assert_eq!(rows.len(), wanted, "{what}"),
    }
}

#[test]
fn a_filter_that_allows_all_changes_no_answer() {
    let (rows, queries) = Rows::generate(ElementType::F32, 3_000, 24, 30);
    for codec in [Codec::Raw, rabitq(5)] {
        let built = BuildOptions { codec: Some(codec), list_vectors: Some(24), ..options(Metric::L2) };
        let index = open_sim(&build_sim(&rows, &built)).unwrap();
        let mut searcher = index.searcher();
        for query in queries.iter() {
            let asked = ask(10, Probe::TargetRecall(0.95));
            let filter = Filter { allows: &|_| true, share: 1.0 };
            let (right, found) = (
                searcher.search(query, &asked).unwrap(),
                searcher.search_where(query, &asked, filter).unwrap(),
            );
            assert_eq!((right.hits, right.cost.lists), (found.hits, found.cost.lists));
        }
    }
}

#[test]
fn targets_hold_among_some_of_the_vectors() {
    let (rows, queries) = Rows::generate(ElementType::F32, 20_000, 32, 200);
    let built = BuildOptions { codec: Some(rabitq(5)), ..options(Metric::L2) };
    let disk = build_own(&rows, &built);
    for pin in [Pin::Nothing, Pin::Residency(Residency::Codes)] {
        let index = open_with(&disk, &OpenOptions { pin, ..OpenOptions::default() }).unwrap();
        let mut searcher = index.searcher();
        for (name, allowed) in choices(&rows) {
            let count = allowed.iter().filter(|&&allowed| allowed).count();
            if count < 100 {
                continue;
            }
            let allows = |row: RowId| allowed[row.0 as usize];
            let filter = Filter { allows: &allows, share: count as f32 / rows.len() as f32 };
            let (mut right, mut lists) = (0, 0);
            for query in queries.iter() {
                let asked = ask(10, Probe::TargetRecall(0.9));
                let answer = searcher.search_where(query, &asked, filter).unwrap();
                let truth = naive(Metric::L2, &rows, query, &allowed, 10);
                right += within(&answer, Metric::L2, &rows, query, truth[9].1);
                lists += answer.cost.lists;
            }
            let recall = right as f32 / (10 * queries.len()) as f32;
            println!("{pin:?}, {name}: {recall}, {} of {} lists", lists / 200, index.info().lists);
            assert!(recall >= 0.88, "{pin:?}, {name}: {recall}");
        }
    }
}

#[test]
fn where_only_signs_are_held_a_filter_is_refused() {
    let (rows, queries) = Rows::generate(ElementType::F32, 1_000, 24, 1);
    let built = BuildOptions { codec: Some(rabitq(5)), ..options(Metric::L2) };
    let opened = OpenOptions { pin: Pin::Residency(Residency::Signs), ..OpenOptions::default() };
    let index = open_with(&build_sim(&rows, &built), &opened).unwrap();
    let filter = Filter { allows: &|_| true, share: 1.0 };
    let refused = index.searcher().search_where(queries.row(0), &ask(1, Probe::All), filter);
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("signs; expected lists or codes"), "{message}");
}
