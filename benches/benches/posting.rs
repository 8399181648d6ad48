//! Scoring the entries of posting lists that have been read: time of a search's scan.
#![forbid(unsafe_code)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use nearline::Probe;
use nearline_benches::bench_index::BenchIndex;

fn scan(c: &mut Criterion) {
    let index = BenchIndex::build(50_000).expect("an index");
    let mut group = c.benchmark_group("posting/scan");
    for lists in [16, 64, 256] {
        let entries = index.mean(Probe::Lists(lists), |cost| cost.entries as f64).expect("a search");
        group.throughput(Throughput::Elements(entries as u64));
        group.bench_function(BenchmarkId::from_parameter(lists), |b| {
            b.iter_custom(|rounds| index.time(rounds, Probe::Lists(lists), |cost| cost.scan_us));
        });
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
