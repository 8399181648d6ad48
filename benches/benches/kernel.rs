//! The innermost loops on every instruction set this processor has.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nearline_index::kernel::{Kernel, PANEL, TILE_PANELS, TILE_QUERIES, Tile};

const DIM: usize = 96;
/// Rows that one call of `row` works through: some 100 KiB, so they stay near the processor.
const ROWS: usize = 256;

/// Numbers between 0 and 1 without a pattern that matters.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7919 % 1000) as f32 / 1000.0).collect()
}

fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernel/routing");
    let panels = values(TILE_PANELS * PANEL * DIM);
    let queries: Vec<Vec<f32>> = (0..TILE_QUERIES).map(|i| values(DIM + i).split_off(i)).collect();
    let queries: [&[f32]; TILE_QUERIES] = std::array::from_fn(|i| queries[i].as_slice());
    let many = values(ROWS * DIM);
    for kernel in Kernel::available() {
        group.throughput(Throughput::Elements((TILE_QUERIES * TILE_PANELS * PANEL) as u64));
        group.bench_function(format!("tile/{}", kernel.name()), |b| {
            let mut out: Tile<TILE_PANELS, TILE_QUERIES> = [[[0.0; PANEL]; TILE_PANELS]; TILE_QUERIES];
            b.iter(|| kernel.tile(black_box(&panels), black_box(&queries), &mut out));
        });
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(format!("row/{}", kernel.name()), |b| {
            let mut out = vec![0.0; ROWS];
            b.iter(|| kernel.row(black_box(&many), black_box(queries[0]), &mut out));
        });
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernel/answers");
    group.throughput(Throughput::Elements(ROWS as u64));
    let (query, rows) = (values(DIM), values(ROWS * DIM));
    for kernel in Kernel::available() {
        group.bench_function(format!("l2_f32/{}", kernel.name()), |b| {
            b.iter(|| rows.chunks_exact(DIM).map(|row| kernel.l2_f32(black_box(&query), row)).sum::<f64>());
        });
        group.bench_function(format!("sums_f32/{}", kernel.name()), |b| {
            b.iter(|| {
                rows.chunks_exact(DIM).map(|row| kernel.sums_f32(black_box(&query), row).dot).sum::<f64>()
            });
        });
    }
    group.finish();
}

/// Copying the same bytes, to tell what of the above is memory.
fn memory(c: &mut Criterion) {
    let rows = values(ROWS * DIM);
    let mut group = c.benchmark_group("kernel/memory");
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("copy", |b| {
        b.iter_batched_ref(
            || vec![0.0; rows.len()],
            |to| to.copy_from_slice(black_box(&rows)),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, routing, answers, memory);
criterion_main!(benches);
