//! Vectors that other programs worked out (`benches/scripts/embedding_vectors.py` makes them anew).

use std::path::PathBuf;

use super::super::*;

/// A file of little-endian `f32`, or of bytes.
fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/embedding").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn floats(name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&file(name))
}

fn rows_of(table: &dyn Table) -> Vec<f32> {
    let ids: Vec<u64> = (0..table.rows()).collect();
    let mut out = vec![0.0; ids.len() * table.dim()];
    table.lookup(&ids, &mut out).unwrap();
    out
}

fn assert_near(found: &[f32], expected: &[f32], allowed: f32) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= allowed, "{i}: {a}, not {b}");
    }
}

/// 24 rows of 16 values.
const DIM: usize = 16;

#[test]
fn codes_of_faiss_decode_to_the_bits_of_faiss() {
    let book = Codebook::new(DIM, 4, 256, floats("pq_centroids.f32")).unwrap();
    let table = Rows::from_bytes(ProductCodec::new(book), file("pq_codes.u8")).unwrap();
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&rows_of(&table)), bits(&floats("pq_decoded.f32")));
}

#[test]
fn rows_are_coded_as_faiss_codes_them() {
    let book = Codebook::new(DIM, 4, 256, floats("pq_centroids.f32")).unwrap();
    let table = Rows::encode(ProductCodec::new(book), &floats("rows.f32")).unwrap();
    assert_eq!(table.row_bytes(), file("pq_codes.u8"));
}

#[test]
fn singular_values_cut_off_leave_what_numpy_leaves() {
    let rows = floats("rows.f32");
    let budget = ((24 + DIM) * 4 * 3) as u64;
    let table = LowRankCodec::fit(&FitInput::new(&rows, DIM, None, budget, 0).unwrap()).unwrap();
    assert_eq!(table.codec().rank(), 3);
    assert_near(&rows_of(&table), &floats("svd3.f32"), 2e-6);
}

#[test]
fn tensor_trains_are_those_of_numpy() {
    let rows = floats("rows.f32");
    // 24 rows of 16 values: digits 3, 3 and 3, factors 2, 2 and 4, rank 4.
    let budget = (4 * 4 * (3 * 2 + 3 * 2 * 4 + 3 * 4)) as u64;
    let table = TensorTrain::fit(&FitInput::new(&rows, DIM, None, budget, 0).unwrap()).unwrap();
    assert_eq!(table.rank(), 4);
    assert_near(&rows_of(&table), &floats("tt4.f32"), 5e-6);
}
