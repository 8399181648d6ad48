use std::sync::Arc;

use nearline_storage::{Disk, SimDisk};

use super::*;
use crate::quantize::encode;
use crate::random::Random;
use crate::{ElementType, FlatWriter, IndexError, Scorer};

const SEED: u64 = 5;
const QUERIES: usize = 100;

/// A file of vectors around a few places, every `step`-th row of all.
struct Fixture {
    sim: SimDisk,
    flat: Flat,
    codes: RowCodes,
    queries: Vec<Vec<u8>>,
    metric: Metric,
}

fn values(shape: Shape, seed: u64, count: usize) -> Vec<Vec<u8>> {
    let random = Random::new(seed, 3);
    let unit = |at: u64| (random.at(at) >> 40) as f32 / (1u64 << 24) as f32;
    let vector = |number: usize| {
        let place = random.at(1 << 40 | number as u64) % 8;
        let value = |at: usize| {
            let center = unit(1 << 32 | place << 16 | at as u64);
            100.0 * center + 20.0 * unit((number * shape.dim + at) as u64)
        };
        let values: Vec<f32> = (0..shape.dim).map(value).collect();
        match shape.element {
            ElementType::F32 => bytemuck::cast_slice(&values).to_vec(),
            ElementType::F16 => values.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
            ElementType::U8 | ElementType::I8 => values.iter().map(|x| *x as u8).collect(),
        }
    };
    (0..count).map(vector).collect()
}

fn fixture(metric: Metric, shape: Shape, bits: u8, count: usize, step: u32) -> Fixture {
    let sim = SimDisk::new(0);
    let vectors = values(shape, SEED, count + QUERIES);
    let mut writer = FlatWriter::create(&sim, "flat", 3, shape).unwrap();
    for (vector, row) in vectors[..count].iter().zip((7..).step_by(step as usize)) {
        writer.push(RowId(row), vector).unwrap();
    }
    let rows = writer.finish().unwrap().rows;
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let flat = Flat::open(&disk, "flat", 3, shape, rows).unwrap();
    let norm = |vector: &Vec<u8>| {
        let mut wide = vec![0.0; shape.dim];
        shape.widen(vector, &mut wide);
        norm2(&wide).sqrt()
    };
    let norm_max =
        if metric == Metric::InnerProduct { vectors.iter().map(norm).fold(0.0, f64::max) } else { 0.0 };
    let mut space = Space::new(metric, shape, norm_max, SEED);
    let mut mean = vec![0.0; space.dim()];
    for vector in &vectors[..count] {
        let mut place = vec![0.0; space.dim()];
        space.embed(vector, &mut place);
        mean.iter_mut().zip(&place).for_each(|(mean, x)| *mean += x / count as f32);
    }
    space.mean = mean;
    let codes = built(space, &flat, bits);
    Fixture { sim, flat, codes, queries: vectors[count..].to_vec(), metric }
}

fn built(space: Space, flat: &Flat, bits: u8) -> RowCodes {
    let codes = RowCodes::empty(space, SEED, bits, flat.rows() as usize);
    codes.fill(flat, || Ok::<_, IndexError>(true)).unwrap().unwrap()
}

/// Rows in order.
struct Sorted<'a>(&'a [RowId]);

impl AllowedRows for Sorted<'_> {
    fn count(&self) -> u64 {
        self.0.len() as u64
    }

    fn iter(&self) -> impl Iterator<Item = RowId> {
        self.0.iter().copied()
    }

    fn has(&self, row: RowId) -> bool {
        self.0.binary_search(&row).is_ok()
    }
}

impl Fixture {
    fn scorer(&self, query: &[u8]) -> Scorer {
        Scorer::new(self.metric, self.flat.layout.shape, query)
    }

    /// What is found among rows, and how many vectors were compared.
    fn found(&self, query: &[u8], recall: f32, k: usize, rows: &[RowId]) -> (Vec<(RowId, f32)>, u64) {
        let scorer = self.scorer(query);
        let mut nearest = Nearest::new(k);
        let ask = CodeAsk { query, scorer: &scorer, recall };
        let picked = self.codes.nearest_of(&self.flat, &ask, &Sorted(rows), &mut nearest).unwrap();
        (nearest.into_sorted(), picked.compared)
    }

    fn truth(&self, query: &[u8], k: usize, rows: &[RowId]) -> Vec<(RowId, f32)> {
        let mut nearest = Nearest::new(k);
        self.flat.nearest_of(&self.scorer(query), rows.iter().copied(), &mut nearest).unwrap();
        nearest.into_sorted()
    }
}

#[test]
fn the_recall_that_is_wanted_is_found_with_few_reads() {
    let shapes =
        [(ElementType::F32, 96), (ElementType::F16, 40), (ElementType::U8, 33), (ElementType::I8, 64)];
    let metrics = [Metric::L2, Metric::Cosine, Metric::InnerProduct];
    for (at, (element, dim)) in shapes.into_iter().enumerate() {
        let metric = metrics[at % metrics.len()];
        for bits in RowCodes::BITS {
            let fixture = fixture(metric, Shape { element, dim }, bits, 3_000, 1 + at as u32);
            // Rows that are not there among them.
            let one_in = |n: u32| (0..14_000).filter(|row| row % n == 1).map(RowId).collect::<Vec<_>>();
            for (k, recall, n) in [(1, 0.9, 2), (10, 0.95, 3), (10, 0.95, 17), (50, 0.99, 5)] {
                let rows = one_in(n);
                let (mut hits, mut compared) = (0, 0);
                for query in &fixture.queries {
                    let (truth, found) =
                        (fixture.truth(query, k, &rows), fixture.found(query, recall, k, &rows));
                    compared += found.1;
                    hits += found.0.iter().filter(|hit| truth.contains(hit)).count();
                }
                let queries = fixture.queries.len();
                let reached = hits as f32 / (k * queries) as f32;
                // Two deviations of what so many draws give.
                let chance = 2.0 * (recall * (1.0 - recall) / (k * queries) as f32).sqrt();
                assert!(reached >= recall - chance, "{metric:?} {element:?} {bits} bits, k = {k}: {reached}");
                let there = rows.iter().filter(|row| fixture.flat.row_set().contains(**row)).count();
                let most = (there / 2).max(3 * k) * queries;
                assert!(compared < most as u64, "{metric:?} {bits} bits, k = {k}: {compared} of {there}");
            }
        }
    }
}

#[test]
fn nothing_is_lost_where_all_are_wanted_or_all_are_alike() {
    let shape = Shape { element: ElementType::F32, dim: 16 };
    let fixture = fixture(Metric::L2, shape, 1, 900, 1);
    let rows: Vec<RowId> = (0..2_000).map(RowId).collect();
    let query = &fixture.queries[0];
    assert_eq!(fixture.found(query, 0.9, 900, &rows), (fixture.truth(query, 900, &rows), 900));
    assert_eq!(fixture.found(query, 0.9, 10, &[]), (Vec::new(), 0));
    // All at the same distance: none is ruled out, however short the list.
    let sim = SimDisk::new(0);
    let mut writer = FlatWriter::create(&sim, "flat", 3, shape).unwrap();
    (0..2_000).for_each(|row| writer.push(RowId(row), &[0; 64]).unwrap());
    let written = writer.finish().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let flat = Flat::open(&disk, "flat", 3, shape, written.rows).unwrap();
    let space = Space::new(Metric::L2, shape, 0.0, SEED);
    let codes = built(space, &flat, 2);
    let alike = Fixture { sim, flat, codes, queries: vec![vec![0; 64]], metric: Metric::L2 };
    let (found, compared) = alike.found(&alike.queries[0], 0.9, 3, &rows);
    assert_eq!((found, compared), (vec![(RowId(0), 0.0), (RowId(1), 0.0), (RowId(2), 0.0)], 2_000));
}

#[test]
fn huge_vectors_are_read() {
    let shape = Shape { element: ElementType::F32, dim: 16 };
    let sim = SimDisk::new(0);
    let mut writer = FlatWriter::create(&sim, "flat", 3, shape).unwrap();
    for row in 0..300 {
        let size = if row % 2 == 0 { 1e30f32 } else { 1.0 };
        let vector = [size * (row + 1) as f32; 16];
        writer.push(RowId(row), bytemuck::cast_slice(&vector)).unwrap();
    }
    let written = writer.finish().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let flat = Flat::open(&disk, "flat", 3, shape, written.rows).unwrap();
    let space = Space::new(Metric::L2, shape, 0.0, SEED);
    let codes = built(space, &flat, 4);
    let huge = Fixture { sim, flat, codes, queries: Vec::new(), metric: Metric::L2 };
    // Small ones are the nearest; or huge ones are, where there are no others.
    for (query, rows) in [(8.0f32, (0..300).collect::<Vec<_>>()), (3e31, (0..300).step_by(2).collect())] {
        let query: Vec<u8> = bytemuck::cast_slice(&[query; 16]).to_vec();
        let rows: Vec<RowId> = rows.into_iter().map(RowId).collect();
        let (found, _) = huge.found(&query, 0.9, 5, &rows);
        assert_eq!(found, huge.truth(&query, 5, &rows));
    }
}

#[test]
fn estimates_are_those_of_a_list_around_the_mean() {
    for bits in RowCodes::BITS {
        let Fixture { flat, codes, queries, .. } =
            fixture(Metric::L2, Shape { element: ElementType::F32, dim: 50 }, bits, 200, 3);
        let (mut places, mut rows) = (Vec::new(), Vec::new());
        flat.for_each(|row, vector| {
            let mut place = vec![0.0; 64];
            codes.space.embed(vector, &mut place);
            places.extend(place);
            rows.push(row.0);
            Ok::<_, IndexError>(())
        })
        .unwrap();
        let encoded = encode(codes.shape, Scale::Unbiased, &[0.0; 64], &places, &rows);
        let list = encoded.list(codes.shape);
        let query = Query::new(&codes, &queries[0]);
        let mut shortlist = Shortlist::new(1_000);
        let all: Vec<RowId> = rows.iter().map(|&row| RowId(row)).collect();
        codes.estimate(&flat, &query, &Sorted(&all), &mut shortlist);
        let mut other = Shortlist::new(1_000);
        codes.estimate_all(&flat, &query, &Sorted(&all), &mut other);
        let signs = shortlist.take();
        assert_eq!((signs.len(), &signs), (200, &other.take()));
        let mut blocks = SignEstimates::default();
        for listed in &signs {
            let entry = flat.row_set().slot_of(RowId(listed.row)).unwrap() as usize;
            query.coded.sign_block(&list, entry / BLOCK, query.squared, &mut blocks);
            assert_eq!(listed.estimate, blocks.estimate[entry % BLOCK]);
        }
        let alone = codes.signs_only();
        assert_eq!((alone.bits(), alone.ram_bytes()), (1, codes.signs.len() as u64));
        assert_eq!(alone.refine(&flat, &Query::new(&alone, &queries[0]), signs.clone()), signs);
        let again = alone.with_bits(&flat, bits, || Ok::<_, IndexError>(true)).unwrap().unwrap();
        assert!(Arc::ptr_eq(&again.signs, &codes.signs));
        assert_eq!((again.errors, &again.planes), (codes.errors, &codes.planes));
        let refined = codes.refine(&flat, &query, signs);
        assert!(refined.is_sorted_by(|a, b| a.estimate <= b.estimate));
        for listed in refined.iter().filter(|_| bits > 1) {
            let entry = flat.row_set().slot_of(RowId(listed.row)).unwrap() as usize;
            let full = query.coded.full(&list, entry, query.squared);
            // The table of signs has steps.
            assert!((listed.estimate - full).abs() < 0.01 * query.squared, "{bits} bits: {listed:?}, {full}");
        }
    }
}

#[test]
fn what_is_written_is_read_and_damage_is_noticed() {
    for bits in RowCodes::BITS {
        let shape = Shape { element: ElementType::F32, dim: 20 };
        let Fixture { sim, flat, codes, metric, .. } = fixture(Metric::InnerProduct, shape, bits, 100, 2);
        let bytes = codes.write(&sim, "codes", 9).unwrap();
        assert_eq!(sim.bytes("codes").unwrap().len() as u64, bytes);
        let read = |id| RowCodes::read(&sim, "codes", id, metric, &flat);
        let same = read(9).unwrap();
        assert_eq!((same.bits(), same.errors), (bits, codes.errors));
        assert_eq!((&same.signs, &same.planes), (&codes.signs, &codes.planes));
        assert_eq!((same.space.norm_max, &same.space.mean), (codes.space.norm_max, &codes.space.mean));
        let mut place = [[0.0; 32]; 2];
        let vector = flat.get(RowId(9)).unwrap().unwrap();
        codes.space.embed(&vector, &mut place[0]);
        same.space.embed(&vector, &mut place[1]);
        assert_eq!(place[0], place[1], "the rotation is the same");
        assert!(read(8).is_err());
        for byte in 0..bytes {
            sim.flip_bit("codes", byte * 8 + byte % 8);
            let error = read(9).unwrap_err().to_string();
            assert!(error.contains("codes"), "byte {byte}: {error}");
            sim.flip_bit("codes", byte * 8 + byte % 8);
        }
        // Other vectors, another metric.
        let other = fixture(Metric::InnerProduct, shape, bits, 99, 2);
        assert!(RowCodes::read(&sim, "codes", 9, metric, &other.flat).is_err());
    }
}

#[test]
fn building_stops_when_told_to_and_bytes_are_known() {
    let shape = Shape { element: ElementType::F32, dim: 96 };
    let fixture = fixture(Metric::L2, shape, 1, 100, 1);
    let space = fixture.codes.space.clone();
    let codes = RowCodes::empty(space, SEED, 1, 100);
    let stopped = codes.fill(&fixture.flat, || Ok::<_, IndexError>(false)).unwrap();
    assert!(stopped.is_none());
    let bytes = RowCodes::BITS.map(|bits| RowCodes::bytes_of(Metric::L2, shape, 100, bits));
    assert_eq!(bytes, [7_248, 6_048, 4_848, 3_648, 2_048]);
    assert_eq!(fixture.codes.ram_bytes(), 2_048);
}

#[test]
fn vectors_longer_than_the_space_knows_are_found() {
    let shape = Shape { element: ElementType::F32, dim: 32 };
    for bits in [1, 3] {
        let Fixture { sim, flat, codes, queries, metric } =
            fixture(Metric::InnerProduct, shape, bits, 2_000, 1);
        // Half as long as the longest, as if those had come later.
        let mut space = codes.space.clone();
        space.norm_max /= 2.0;
        space.mean = vec![0.0; space.dim()];
        let codes = built(space, &flat, bits);
        let later = Fixture { sim, flat, codes, queries, metric };
        let rows: Vec<RowId> = (0..3_000).map(RowId).collect();
        let mut hits = 0;
        for query in &later.queries {
            let (truth, found) = (later.truth(query, 10, &rows), later.found(query, 0.95, 10, &rows));
            hits += found.0.iter().filter(|hit| truth.contains(hit)).count();
        }
        assert!(hits as f32 >= 0.93 * 10.0 * later.queries.len() as f32, "{bits} bits: {hits}");
    }
}

#[test]
fn long_vectors_among_short_ones_are_found() {
    let shape = Shape { element: ElementType::F32, dim: 64 };
    let sim = SimDisk::new(0);
    let mut writer = FlatWriter::create(&sim, "flat", 3, shape).unwrap();
    let random = Random::new(SEED, 9);
    let value = |at: u64| (random.at(at) >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    let vector = |row: u64| {
        let size = if row.is_multiple_of(10) { 3.0 } else { 1.0 };
        let x: Vec<f32> = (0..64).map(|at| size * (value(at) * 0.5 + value(row * 64 + at + 64))).collect();
        bytemuck::cast_slice(&x).to_vec()
    };
    (0..5_000).for_each(|row| writer.push(RowId(row), &vector(row.into())).unwrap());
    let written = writer.finish().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let flat = Flat::open(&disk, "flat", 3, shape, written.rows).unwrap();
    for bits in [1, 2] {
        let space = Space::new(Metric::L2, shape, 0.0, SEED);
        let codes = built(space, &flat, bits);
        let flat = Flat::open(&disk, "flat", 3, shape, flat.row_set().clone()).unwrap();
        // As long as the few.
        let queries: Vec<Vec<u8>> = (0..100).map(|at| vector(10 * (600 + at))).collect();
        let mixed = Fixture { sim: sim.clone(), flat, codes, queries, metric: Metric::L2 };
        let rows: Vec<RowId> = (0..5_000).map(RowId).collect();
        let mut hits = 0;
        for query in &mixed.queries {
            let (truth, found) = (mixed.truth(query, 10, &rows), mixed.found(query, 0.95, 10, &rows));
            hits += found.0.iter().filter(|hit| truth.contains(hit)).count();
        }
        assert!(hits >= 930, "{bits} bits: {hits} of 1000");
    }
}
