//! Behaviour spaces: interest of a user that is kept, beside exact attention; appends, without the sync of a disk.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use nearline::sdim::{BucketTable, Normalize, ServingTable, SignFamily, SignShape, exact_attention};

const DIM: usize = 128;
const CANDIDATES: usize = 1_000;
const LONG: usize = 10_000;

/// Numbers in -1..1.
fn values(first: u64, count: usize) -> Vec<f32> {
    let mixed = |x: u64| {
        let x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    };
    let element = |i| (mixed(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
    (0..(count * DIM) as u64).map(|i| element(first + i)).collect()
}

fn behaviors(criterion: &mut Criterion) {
    let shape = SignShape::new(DIM, 16, 3).expect("a shape");
    let family = SignFamily::from_seed(shape, 1).expect("a family");
    let (history, candidates) = (values(0, LONG), values(1 << 40, CANDIDATES));
    let (own, asked) =
        (family.signatures(&history).expect("finite"), family.signatures(&candidates).expect("finite"));
    let mut table = BucketTable::new(shape);
    for (vector, signature) in history.chunks_exact(DIM).zip(own.chunks_exact(shape.words())) {
        table.add(vector, signature).expect("of this shape");
    }
    let serving = ServingTable::new(&table, Normalize::L2);
    let mut out = vec![0.0; CANDIDATES * DIM];

    let mut group = criterion.benchmark_group("interest");
    group.throughput(Throughput::Elements(CANDIDATES as u64));
    group.bench_function("hash candidates", |bench| bench.iter(|| family.signatures(black_box(&candidates))));
    group.bench_function("make ready", |bench| {
        bench.iter(|| ServingTable::new(black_box(&table), Normalize::L2));
    });
    group.bench_function("gather", |bench| bench.iter(|| serving.interest(black_box(&asked), &mut out)));
    group.sample_size(10).bench_function("exact attention", |bench| {
        bench.iter(|| exact_attention(black_box(&candidates), &history, DIM, 0.1));
    });
    group.finish();

    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(LONG as u64));
    group.bench_function("hash and add to a table", |bench| {
        bench.iter(|| {
            let signatures = family.signatures(black_box(&history)).expect("finite");
            for (vector, signature) in history.chunks_exact(DIM).zip(signatures.chunks_exact(shape.words())) {
                table.add(vector, signature).expect("of this shape");
            }
        });
    });
    group.finish();
}

criterion_group!(benches, behaviors);
criterion_main!(benches);
