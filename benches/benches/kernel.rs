//! The innermost loops on every instruction set this processor has.
#![forbid(unsafe_code)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nearline_index::kernel::{CODE_BLOCK, Kernel, PANEL, SignTerms, TILE_PANELS, TILE_QUERIES, Tile};
use simsimd::SpatialSimilarity;

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

/// Bytes without a pattern that matters.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i * 7919 % 251) as u8).collect()
}

/// Estimates from quantized vectors: by signs, 32 entries at a time, and by all bits, one.
fn codes(c: &mut Criterion) {
    for dim in [96, 128, 768] {
        let (signs, table, query) = (bytes(dim * 4), bytes(dim * 4), values(dim));
        for kernel in Kernel::available() {
            let mut group = c.benchmark_group("kernel/signs");
            group.throughput(Throughput::Elements(CODE_BLOCK as u64));
            let factors = [0x40; 4 * CODE_BLOCK];
            let terms = SignTerms { distance: 2.0, step: 0.01, bias: -1.0, error: 0.02, spread: 0.1 };
            group.bench_function(format!("block/{dim}/{}", kernel.name()), |b| {
                let mut sums = [0; CODE_BLOCK];
                let (mut estimates, mut lower) = ([0.0; CODE_BLOCK], [0.0; CODE_BLOCK]);
                b.iter(|| {
                    kernel.fastscan(black_box(&signs), black_box(&table), &mut sums);
                    kernel.sign_estimates(&sums, black_box(&factors), &terms, &mut estimates, &mut lower);
                    lower[0]
                });
            });
            group.finish();
            let mut group = c.benchmark_group("kernel/codes");
            for bits in [1, 3, 4, 5, 7, 8] {
                let planes = bytes(dim / 8 * (bits - 1));
                group.bench_function(format!("dot/{dim}/{bits}/{}", kernel.name()), |b| {
                    b.iter(|| kernel.code_dot(bits, black_box(&signs), 17, black_box(&planes), &query));
                });
            }
            group.finish();
        }
    }
}

/// What a build does to every vector before it has a code: the rotation, and the search for the best grid.
fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernel/encoding");
    for dim in [96, 128, 768] {
        let (factors, magnitudes) = (vec![0.7; dim], values(dim));
        for kernel in Kernel::available() {
            group.bench_function(format!("rotation round/{dim}/{}", kernel.name()), |b| {
                // The values grow out of bounds, which costs no time.
                let mut x = values(dim);
                b.iter(|| kernel.rotate(black_box(&factors), 0, black_box(&mut x)));
            });
            group.bench_function(format!("four grids/{dim}/{}", kernel.name()), |b| {
                b.iter(|| kernel.grid_sums(black_box(&magnitudes), 63.0, &[60.0, 61.0, 62.0, 63.0]));
            });
        }
    }
    group.finish();
}

/// Our loops and the library's on the same work. The library has none for unsigned bytes.
fn library(c: &mut Criterion) {
    let mut group = c.benchmark_group("kernel/library");
    group.throughput(Throughput::Elements(ROWS as u64));
    let kernel = Kernel::best();
    for dim in [96, 128, 960] {
        let unsigned: Vec<u8> = (0..ROWS * dim).map(|i| (i * 7919 % 251) as u8).collect();
        let signed: Vec<i8> = unsigned.iter().map(|&x| x.cast_signed()).collect();
        let floats = values(ROWS * dim);
        group.bench_function(format!("l2_u8/ours/{dim}"), |b| {
            b.iter(|| {
                unsigned.chunks_exact(dim).map(|x| kernel.l2_u8(black_box(&unsigned[..dim]), x)).sum::<u64>()
            });
        });
        group.bench_function(format!("l2_i8/simsimd/{dim}"), |b| {
            b.iter(|| {
                signed.chunks_exact(dim).filter_map(|x| i8::l2sq(black_box(&signed[..dim]), x)).sum::<f64>()
            });
        });
        group.bench_function(format!("l2_f32/ours/{dim}"), |b| {
            b.iter(|| {
                floats.chunks_exact(dim).map(|x| kernel.l2_f32(black_box(&floats[..dim]), x)).sum::<f64>()
            });
        });
        group.bench_function(format!("l2_f32/simsimd/{dim}"), |b| {
            b.iter(|| {
                floats.chunks_exact(dim).filter_map(|x| f32::l2sq(black_box(&floats[..dim]), x)).sum::<f64>()
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

criterion_group!(benches, routing, answers, codes, encoding, library, memory);
criterion_main!(benches);
