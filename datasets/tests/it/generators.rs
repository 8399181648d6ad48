//! Generated vectors: the same always, and alive.

use nearline_datasets::{
    ElementType, Generator, Kind, Metric, RowSource, VectorFile, generate, generate_queries, ground_truth,
    intrinsic_dimension, load_f32, load_raw,
};

use crate::support::{fnv, folder};

fn made(source: &dyn RowSource, first: u64, rows: usize) -> Vec<u8> {
    let mut out = vec![0; rows * source.row_bytes()];
    source.fill(first, &mut out);
    out
}

#[test]
fn frozen() {
    // these numbers may never change: stored benchmarks refer to the vectors behind them
    let cases = [
        (Kind::Deep, 96, ElementType::F32),
        (Kind::Deep, 17, ElementType::I8),
        (Kind::Sift, 128, ElementType::U8),
        (Kind::Sift, 33, ElementType::F16),
    ];
    let found = cases.map(|(kind, dim, element)| {
        format!("{:016x}", fnv(&made(&Generator::new(kind, dim, element, 1).unwrap(), 1 << 40, 300)))
    });
    assert_eq!(found, ["010ecb94ba9d9c9c", "43159283ac55242f", "857d276e93d00737", "4d8fbd52f607d3ac"]);
}

#[test]
fn any_range_gives_the_same_rows() {
    for kind in Kind::ALL {
        for element in ElementType::ALL {
            let source = Generator::new(kind, 19, element, 3).unwrap();
            let row = source.row_bytes();
            let all = made(&source, 1000, 700);
            for (first, rows) in [(0, 1), (1, 2), (5, 300), (699, 1), (256, 444)] {
                let expected = &all[first * row..(first + rows) * row];
                assert_eq!(
                    made(&source, 1000 + first as u64, rows),
                    expected,
                    "{kind} {element} {first} {rows}"
                );
            }
        }
    }
}

#[test]
fn seeds_and_queries_differ() {
    let source = |seed| Generator::new(Kind::Deep, 8, ElementType::F32, seed).unwrap();
    let base = made(&source(1), 0, 100);
    assert_ne!(base, made(&source(2), 0, 100));
    assert_ne!(base, made(&source(1).queries(), 0, 100));
    assert!(Generator::new(Kind::Deep, 0, ElementType::F32, 1).is_err());
    assert!(Generator::new(Kind::Deep, 65_536, ElementType::F32, 1).is_err());
    assert!(generate(Kind::Sift, 0, 8, ElementType::U8, 1).is_err());
}

#[test]
fn deep_has_unit_length_and_sift_norm_512() {
    let folder = folder();
    for dim in [1, 2, 7, 96, 700] {
        let path = folder.path().join("x.fbin");
        generate(Kind::Deep, 50, dim, ElementType::F32, 1).unwrap().write_to(&path).unwrap();
        let (values, _) = load_f32(&path).unwrap();
        for row in values.chunks_exact(dim) {
            let norm = row.iter().map(|v| v * v).sum::<f32>();
            assert!((norm - 1.0).abs() < 1e-5, "{dim}: {norm}");
        }
    }
    let path = folder.path().join("x.u8bin");
    generate(Kind::Sift, 50, 128, ElementType::U8, 1).unwrap().write_to(&path).unwrap();
    for row in load_f32(&path).unwrap().0.chunks_exact(128) {
        let norm = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((norm - 512.0).abs() < 25.0, "{norm}");
    }
}

#[test]
fn neither_too_easy_nor_too_hard() {
    let folder = folder();
    for (kind, dim, element, name) in
        [(Kind::Deep, 96, ElementType::F32, "x.fbin"), (Kind::Sift, 128, ElementType::U8, "x.u8bin")]
    {
        let (base, query) = (folder.path().join(name), folder.path().join(format!("q-{name}")));
        generate(kind, 30_000, dim, element, 1).unwrap().write_to(&base).unwrap();
        generate_queries(kind, 100, dim, element, 1).unwrap().write_to(&query).unwrap();
        let (base, queries) = (VectorFile::open(&base).unwrap(), load_raw(&query).unwrap());
        let truth = ground_truth(&base, &queries, Metric::L2, 100, 0, &|_, _| {}).unwrap();
        let lid = intrinsic_dimension(&truth);
        assert!((13.0..22.0).contains(&lid), "{kind}: {lid}");
    }
}
