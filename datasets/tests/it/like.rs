//! The port of the reference generator: numbers taken from the original, run with NumPy.

use nearline_datasets::{ElementType, LikeGenerator, RowSource, VectorFile};

use crate::support::{fnv, folder, splitmix, write};

fn made(source: &LikeGenerator, first: u64, rows: usize) -> Vec<u8> {
    let mut out = vec![0; rows * source.row_bytes()];
    source.fill(first, &mut out);
    out
}

fn like(name: &str, element: ElementType, dim: usize, bytes: &[u8], seed: u64, sigma: f64) -> LikeGenerator {
    let folder = folder();
    let path = folder.path().join(name);
    write(&path, element, dim, bytes);
    LikeGenerator::new(&VectorFile::open(&path).unwrap(), seed, sigma, 2, &|_, _| {}).unwrap()
}

#[test]
fn bytes_are_those_of_the_original() {
    // 100 x 12 anchors, multiples of 8: with ties among their distances
    let anchors: Vec<u8> = (0..1200).map(|i| (splitmix(i) >> 59) as u8 * 8).collect();
    let source = like("a.u8bin", ElementType::U8, 12, &anchors, 7, 0.9);
    let rows = made(&source, 12_345, 300);
    assert_eq!(rows[..12], [148, 92, 96, 113, 46, 70, 119, 212, 206, 158, 255, 237]);
    assert_eq!(fnv(&rows), 0x1658_f889_ad0e_9b90);
    assert_eq!(made(&source, (1 << 40) + 3, 1), [0, 53, 67, 255, 255, 98, 78, 194, 212, 95, 61, 208]);
}

#[test]
fn unit_vectors_are_those_of_the_original() {
    let uniform = |i: u64| (splitmix(i) >> 40) as f32 / (1 << 24) as f32 - 0.5;
    let mut anchors = Vec::new();
    for i in 0..50 {
        let row: Vec<f32> = (0..140).map(|j| uniform(i * 140 + j)).collect();
        // NumPy's order of summation: halves of a multiple of 8, eight running sums in each
        let squares: Vec<f64> = row.iter().map(|&v| f64::from(v) * f64::from(v)).collect();
        let norm = (eight_sums(&squares[..64]) + eight_sums(&squares[64..])).sqrt();
        anchors.extend(row.iter().flat_map(|&v| ((f64::from(v) / norm) as f32).to_le_bytes()));
    }
    assert_eq!(fnv(&anchors), 0xfae0_ad38_6bac_17c1);
    let source = like("a.fbin", ElementType::F32, 140, &anchors, 1, 0.7);
    assert_eq!(fnv(&made(&source, 1000, 100)), 0x55b1_8f6e_c1e7_cc45);
}

fn eight_sums(values: &[f64]) -> f64 {
    let mut r = [0.0; 8];
    let whole = values.len() / 8 * 8;
    values[..whole].iter().enumerate().for_each(|(i, v)| r[i % 8] += v);
    let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    values[whole..].iter().fold(sum, |sum, v| sum + v)
}

#[test]
fn twins_and_few_anchors() {
    // forty times the same anchor: its neighbours are its twins, so every vector is that anchor
    let source = like("a.u8bin", ElementType::U8, 3, &[5; 120], 1, 0.9);
    assert_eq!(made(&source, 0, 200), vec![5; 600]);
    let folder = folder();
    let path = folder.path().join("a.u8bin");
    write(&path, ElementType::U8, 3, &[5; 96]);
    let few = LikeGenerator::new(&VectorFile::open(&path).unwrap(), 1, 0.9, 1, &|_, _| {});
    assert!(few.is_err_and(|e| e.to_string().contains("found 32, expected 33")));
}
