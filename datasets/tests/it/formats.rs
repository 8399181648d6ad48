//! Every format gives back what was written.

use std::fs;

use nearline_datasets::{ElementType, GroundTruth, VectorFile, VectorWriter, load_f32, load_raw};
use proptest::prelude::*;

use crate::support::{WRITABLE, folder, gz_copy, read_from, write};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn vectors_round_trip(
        which in 0..WRITABLE.len(),
        dim in 1usize..40,
        seed in proptest::collection::vec(any::<u8>(), 1..60),
        from in 0u64..70,
        step in 1usize..9,
    ) {
        let (extension, element) = WRITABLE[which];
        let row = dim * element.bytes();
        let bytes: Vec<u8> = seed.iter().flat_map(|&b| (0..row).map(move |i| b.wrapping_mul(i as u8 | 1))).collect();
        let folder = folder();
        let path = folder.path().join(format!("x.{extension}"));
        write(&path, element, dim, &bytes);
        let from = from.min(seed.len() as u64);
        for path in [gz_copy(&path), path] {
            let file = VectorFile::open(&path).unwrap();
            prop_assert_eq!((file.element(), file.dim(), file.count()), (element, dim, seed.len() as u64));
            prop_assert_eq!(read_from(&path, from, step).unwrap(), &bytes[from as usize * row..]);
            let raw = load_raw(&path).unwrap();
            prop_assert_eq!((raw.count, &raw.bytes), (seed.len(), &bytes));
            prop_assert!(file.rows(file.count() + 1).is_err());
        }
    }

    #[test]
    fn ground_truth_round_trips(queries in 1usize..20, k in 1usize..20, seed in any::<u32>()) {
        let ids: Vec<u32> = (0..(queries * k) as u32).map(|i| i.wrapping_mul(seed)).collect();
        let distances = ids.iter().map(|&i| i as f32 / 7.0).collect();
        let truth = GroundTruth { queries, k, ids, distances };
        let folder = folder();
        let path = folder.path().join("x.gt.bin");
        truth.write(&path).unwrap();
        prop_assert_eq!(&GroundTruth::read(&gz_copy(&path)).unwrap(), &truth);
        prop_assert_eq!(GroundTruth::read(&path).unwrap(), truth);
    }
}

#[test]
fn elements_widen_exactly() {
    let folder = folder();
    let check = |name: &str, element: ElementType, bytes: &[u8], expected: &[f32]| {
        let path = folder.path().join(name);
        write(&path, element, 2, bytes);
        assert_eq!(load_f32(&path).unwrap(), (expected.to_vec(), 2), "{name}");
    };
    check("a.u8bin", ElementType::U8, &[0, 255], &[0.0, 255.0]);
    check("a.i8bin", ElementType::I8, &[128, 127], &[-128.0, 127.0]);
    check("a.f16bin", ElementType::F16, &[0, 0x3c, 0, 0xc0], &[1.0, -2.0]);
    check("a.fvecs", ElementType::F32, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], &[1.0, -2.0]);
}

#[test]
fn an_interrupted_write_leaves_nothing() {
    let folder = folder();
    for (extension, element) in WRITABLE {
        let path = folder.path().join(format!("x.{extension}"));
        let mut writer = VectorWriter::create(&path, element, 3).unwrap();
        writer.write_rows(&vec![1; 30 * element.bytes()]).unwrap();
        assert!(VectorFile::open(&path).is_err());
        drop(writer);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{extension}");
    }
}

#[test]
fn writers_refuse_what_they_cannot_store() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let create = |name: &str, dim| VectorWriter::create(&path(name), ElementType::F32, dim).map(|_| ());
    for (name, dim) in [("a.u8bin", 3), ("a.fbin.gz", 3), ("a.fbin", 0), ("a.fbin", 65_536), ("a.csv", 3)] {
        assert!(create(name, dim).is_err(), "{name} {dim}");
    }
    let mut writer = VectorWriter::create(&path("a.fbin"), ElementType::F32, 3).unwrap();
    assert!(writer.write_rows(&[0; 13]).is_err());
    assert!(writer.finish().unwrap_err().to_string().contains("number of rows: found 0"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
