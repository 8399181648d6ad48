//! Damaged files are refused, each with its own words.

use std::fs;
use std::path::Path;

use nearline_datasets::{GroundTruth, VectorFile, read_ids, write_ids};

use crate::support::{WRITABLE, folder, gz, read_from, write};

/// Writes the bytes under a name and demands an error with these words.
fn refused(name: &str, bytes: &[u8], words: &[&str]) {
    let folder = folder();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let error = if name.contains("ibin") || name.contains("ivecs") || name.contains("i64") {
        read_ids(&path).map(|_| ()).expect_err(name)
    } else if name.contains(".gt") {
        GroundTruth::read(&path).map(|_| ()).expect_err(name)
    } else {
        read_from(&path, 0, 7).map(|_| ()).expect_err(name)
    };
    let error = error.to_string();
    assert!(!error.contains('\n') && error.contains(name), "{error}");
    for word in words {
        assert!(error.contains(word), "{name}: {error}: no {word:?}");
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn npy(text: &str, data: usize) -> Vec<u8> {
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((text.len() as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

#[test]
fn every_truncation_and_any_surplus() {
    let folder = folder();
    for (extension, element) in WRITABLE {
        let name = format!("x.{extension}");
        let path = folder.path().join(&name);
        write(&path, element, 5, &vec![0; 15 * element.bytes()]);
        let whole = fs::read(&path).unwrap();
        let row = 5 * element.bytes() + 4;
        for len in 0..whole.len() {
            if extension.ends_with("vecs") && len > 0 && len % row == 0 {
                continue; // whole rows: such a file has no count to contradict
            }
            refused(&name, &whole[..len], &[]);
            refused(&format!("{name}.gz"), &gz(&whole[..len]), &[]);
        }
        let longer = [whole.as_slice(), &[0]].concat();
        refused(&name, &longer, &["found", "expected"]);
        refused(&format!("{name}.gz"), &gz(&longer), &["found", "expected"]);
    }
}

#[test]
fn every_truncation_of_a_gzip_stream() {
    let folder = folder();
    let path = folder.path().join("x.u8bin");
    write(&path, nearline_datasets::ElementType::U8, 5, &[7; 50]);
    let whole = gz(&fs::read(&path).unwrap());
    for len in 0..whole.len() {
        refused("x.u8bin.gz", &whole[..len], &[]);
    }
    let mut bad = whole.clone();
    let checksum = bad.len() - 6;
    bad[checksum] ^= 1;
    refused("x.u8bin.gz", &bad, &["corrupt gzip"]);
    refused("x.u8bin.gz", b"not gzip at all", &["corrupt gzip"]);
}

#[test]
fn headers_that_lie() {
    refused("x.fbin", &[], &["empty file"]);
    refused("x.fbin", &words(&[0, 4]), &["number of rows: found 0"]);
    refused("x.fbin", &words(&[1, 0]), &["dimension: found 0, expected 1 to 65535"]);
    refused("x.fbin", &words(&[1, 65_536]), &["dimension: found 65536"]);
    refused("x.fbin", &words(&[u32::MAX, 65_535, 0]), &["truncated file: found 12 bytes"]);
    refused("x.fbin.gz", &gz(&words(&[u32::MAX, 65_535, 0])), &["truncated file: found 12 bytes"]);
    refused(
        "x.u8bin",
        &words(&[1, 4, 0, 0]),
        &["oversized file: found 16 bytes, expected 12 (1 rows x 4 u8)"],
    );
    refused("x.txt", b"hello", &["unknown extension \"txt\"", "fvecs bvecs fbin f16bin u8bin i8bin npy"]);
    refused("x.fvecs", &words(&[0]), &["dimension: found 0"]);
    refused("x.fvecs", &words(&[u32::MAX, 0]), &["dimension: found -1"]);
    refused("x.fvecs", &words(&[1, 0, 2, 0]), &["mixed dimensions: row 1 has 2, expected 1"]);
    refused("x.fvecs.gz", &gz(&words(&[1, 0, 2, 0])), &["mixed dimensions: row 1 has 2, expected 1"]);
}

#[test]
fn numpy_headers() {
    let with = |descr: &str, fortran: &str, shape: &str| {
        npy(&format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"), 8)
    };
    refused("x.npy", &with("'<f4'", "True", "(1, 2)"), &["npy order: found fortran"]);
    refused("x.npy", &with("'>f4'", "False", "(1, 2)"), &["npy byte order: found >f4"]);
    refused("x.npy", &with("'<f8'", "False", "(1, 1)"), &["npy type: found <f8"]);
    refused("x.npy", &with("[('a', '<f4')]", "False", "(1, 2)"), &["structured"]);
    refused("x.npy", &with("'<f4'", "False", "(2,)"), &["npy shape: found [2]"]);
    refused("x.npy", &with("'<f4'", "False", "(1, 1, 2)"), &["npy shape"]);
    refused("x.npy", &with("'<f4'", "False", "(0, 2)"), &["number of rows: found 0"]);
    refused("x.npy", &with("'<f4'", "False", "(1, 0)"), &["dimension: found 0"]);
    refused("x.npy", &with("'<f4'", "False", "(1, 99999)"), &["dimension: found 99999"]);
    refused("x.npy", &with("'<f4'", "False", "(18446744073709551615, 2)"), &["fewer than 2^64 bytes"]);
    refused("x.npy", &with("'<f4'", "False", "(1, 3)"), &["truncated"]);
    let mut bad = with("'<f4'", "False", "(1, 2)");
    bad[6] = 4;
    refused("x.npy", &bad, &["npy version: found 4.0"]);
    bad[6] = 2;
    bad[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    refused("x.npy", &bad, &["npy header length: found 4294967295"]);
    bad[0] = b'x';
    refused("x.npy", &bad, &["npy magic"]);
}

#[test]
fn ids_and_ground_truth() {
    refused("x.ibin", &words(&[0, 1]), &["number of rows: found 0"]);
    refused("x.ibin", &words(&[1, 0]), &["dimension: found 0"]);
    refused("x.ibin", &words(&[2, 1, 5]), &["truncated file: found 12 bytes, expected 16"]);
    refused("x.i64bin", &words(&[1, 1, 5]), &["truncated file: found 12 bytes, expected 16"]);
    refused("x.ivecs", &words(&[1, u32::MAX]), &["id: found -1 in row 0, expected 0 or more"]);
    refused("x.ivecs", &words(&[1, 7, 2, 7]), &["mixed dimensions"]);
    refused("x.gt1.bin", &words(&[1, 1, 5]), &["truncated file: found 12 bytes, expected 16"]);
    refused("x.gt1.bin", &words(&[1, 1, 5, 5, 5]), &["oversized"]);
    refused("x.gt1.bin.gz", &gz(&words(&[1, 1, 5])), &["truncated file: found 12 bytes, expected 16"]);
    refused("x.gt1.bin.gz", &gz(&words(&[1, 1, 5, 5, 5])), &["oversized"]);
    refused("x.gt1.bin", &words(&[u32::MAX, u32::MAX, 5]), &["found"]);
    refused("x.gt1.bin.gz", &gz(&words(&[u32::MAX, u32::MAX, 5])), &["found"]);
    refused("x.gt1.bin", &words(&[1, 0]), &["at least 1 x 1"]);
    let folder = folder();
    let path = folder.path().join("x.ibin");
    assert!(write_ids(&path, &[1 << 32], 1).is_err());
    assert!(write_ids(&path, &[1, 2, 3], 2).is_err());
    assert!(write_ids(&path, &[], 1).is_err());
    assert!(!path.exists());
}

#[test]
fn no_file_at_all() {
    for path in ["/nonexistent/x.fbin", "/x.fbin"] {
        assert!(VectorFile::open(Path::new(path)).unwrap_err().to_string().contains("cannot open"));
    }
    let folder = folder();
    let path = folder.path().join("folder.fbin");
    fs::create_dir(&path).unwrap();
    assert!(VectorFile::open(&path).unwrap_err().to_string().contains("not a regular file"));
}
