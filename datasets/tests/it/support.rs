//! Small helpers of the tests.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use nearline_datasets::{ElementType, VectorFile, VectorWriter};
use tempfile::TempDir;

/// A folder that vanishes.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Every extension a writer takes, with an element type that suits it.
pub(crate) const WRITABLE: [(&str, ElementType); 9] = [
    ("fvecs", ElementType::F32),
    ("bvecs", ElementType::U8),
    ("fbin", ElementType::F32),
    ("f16bin", ElementType::F16),
    ("u8bin", ElementType::U8),
    ("i8bin", ElementType::I8),
    ("npy", ElementType::F32),
    ("npy", ElementType::F16),
    ("npy", ElementType::I8),
];

pub(crate) fn write(path: &Path, element: ElementType, dim: usize, bytes: &[u8]) {
    let mut writer = VectorWriter::create(path, element, dim).unwrap();
    writer.write_rows(bytes).unwrap();
    writer.finish().unwrap();
}

/// All rows, read through a buffer of `step` rows.
pub(crate) fn read_from(path: &Path, from: u64, step: usize) -> nearline_datasets::Result<Vec<u8>> {
    let file = VectorFile::open(path)?;
    let mut rows = file.rows(from)?;
    let mut buffer = vec![0; step * file.row_bytes()];
    let mut out = Vec::new();
    loop {
        match rows.read(&mut buffer)? {
            0 => return Ok(out),
            n => out.extend_from_slice(&buffer[..n * file.row_bytes()]),
        }
    }
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A compressed copy beside the file.
pub(crate) fn gz_copy(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let copy = PathBuf::from(name);
    fs::write(&copy, gz(&fs::read(path).unwrap())).unwrap();
    copy
}

/// 64-bit FNV-1a.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The finalizer of splitmix64.
pub(crate) fn splitmix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
