//! Files of ids.

use std::fs;

use nearline_datasets::{IdFile, read_ids, write_ids};
use proptest::prelude::*;

use crate::support::{folder, gz_copy};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn ids_round_trip(rows in 1usize..50, columns in 1usize..20, seed in any::<u64>(), step in 1usize..30) {
        let ids: Vec<u64> = (0..rows * columns).map(|i| seed.wrapping_mul(i as u64 | 1)).collect();
        let small: Vec<u64> = ids.iter().map(|id| id & 0xFFFF_FFFF).collect();
        let folder = folder();
        for (name, ids) in [("x.i64bin", ids), ("x.ibin", small)] {
            let path = folder.path().join(name);
            write_ids(&path, &ids, columns).unwrap();
            for path in [gz_copy(&path), path] {
                prop_assert_eq!(&read_ids(&path).unwrap(), &ids);
                let mut file = IdFile::open(&path).unwrap();
                prop_assert_eq!((file.rows(), file.columns()), (rows as u64, columns));
                let (mut found, mut buffer) = (Vec::new(), vec![0; step]);
                while let n @ 1.. = file.read(&mut buffer).unwrap() {
                    found.extend_from_slice(&buffer[..n]);
                }
                prop_assert_eq!(&found, &ids);
            }
        }
    }
}

#[test]
fn other_formats() {
    let folder = folder();
    let check = |name: &str, bytes: &[u8], expected: &[u64]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_ids(&path).unwrap(), expected, "{name}");
        assert_eq!(read_ids(&gz_copy(&path)).unwrap(), expected, "{name}.gz");
    };
    let ivecs: Vec<u8> = [2u32, 10, 11, 2, 12, 13].iter().flat_map(|v| v.to_le_bytes()).collect();
    check("x.ivecs", &ivecs, &[10, 11, 12, 13]);
    for (descr, width) in [("<u4", 4), ("<i4", 4), ("<u8", 8), ("<i8", 8)] {
        for shape in ["(2,)", "(2, 1)", "(1, 2)"] {
            let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((text.len() as u16).to_le_bytes());
            bytes.extend(text.as_bytes());
            for id in [3u64, 70_000] {
                bytes.extend(&id.to_le_bytes()[..width]);
            }
            check("x.npy", &bytes, &[3, 70_000]);
        }
    }
}
