//! From a query to its nearest lists, in RAM: the part of a search before the first read.
#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nearline::Probe;
use nearline_benches::bench_index::BenchIndex;

fn routing(c: &mut Criterion) {
    let index = BenchIndex::build(50_000).expect("an index");
    let mut group = c.benchmark_group("routing");
    for lists in [1, 16, 64, 256] {
        group.bench_function(BenchmarkId::new("lists", lists), |b| {
            b.iter_custom(|rounds| index.time(rounds, Probe::Lists(lists), |cost| cost.route_us));
        });
    }
    for target in [0.9, 0.99] {
        group.bench_function(BenchmarkId::new("target", target), |b| {
            b.iter_custom(|rounds| index.time(rounds, Probe::TargetRecall(target), |cost| cost.route_us));
        });
    }
    group.finish();
}

criterion_group!(benches, routing);
criterion_main!(benches);
