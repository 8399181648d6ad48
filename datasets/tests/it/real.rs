//! Against the exact neighbours that come with the real data sets.

use nearline_datasets::catalog::{self, DataSet};
use nearline_datasets::{GroundTruth, Metric, VectorFile, ground_truth, intrinsic_dimension, load_raw};

#[test]
fn the_truth_of_every_real_set() {
    let Some(catalog) = catalog::open() else { return };
    assert!(catalog.find("sift").is_some_and(|set| set.metric == Metric::L2));
    for set in catalog.sets() {
        check(set);
    }
}

fn check(set: &DataSet) {
    let expected = GroundTruth::read(&set.truth).unwrap();
    let (base, queries) = (VectorFile::open(&set.base).unwrap(), load_raw(&set.query).unwrap());
    let found = ground_truth(&base, &queries, set.metric, expected.k, 0, &|_, _| {}).unwrap();
    assert_eq!((found.queries, found.k), (expected.queries, expected.k), "{}", set.name);
    let mut swapped = 0;
    for query in 0..found.queries {
        let ((ids, values), (want_ids, want)) = (found.row(query), expected.row(query));
        for i in 0..found.k {
            assert!(
                close(values[i], want[i]),
                "{} query {query} place {i}: {} {}",
                set.name,
                values[i],
                want[i]
            );
            if ids[i] != want_ids[i] {
                swapped += 1;
                let tie = tied(&expected, query, i, ids[i]);
                assert!(tie, "{} query {query} place {i}: row {} for {}", set.name, ids[i], want_ids[i]);
            }
        }
    }
    let lid = intrinsic_dimension(&found);
    eprintln!(
        "{}: {} queries, {swapped} ids swapped among ties, dimension {lid:.1}",
        set.name, found.queries
    );
}

fn close(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

/// Whether a row stands elsewhere with the same value, or may have been cut off at the end by a tie.
fn tied(truth: &GroundTruth, query: usize, place: usize, row: u32) -> bool {
    let (ids, values) = truth.row(query);
    match ids.iter().position(|&id| id == row) {
        Some(at) => close(values[at], values[place]),
        None => close(values[place], values[truth.k - 1]),
    }
}
