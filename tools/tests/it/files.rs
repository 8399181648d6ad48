//! Files made by hand, good and bad, and folders compared.

use std::collections::BTreeMap;
use std::path::Path;

use crate::run::root;

/// Writes a file in the tests' folder.
pub(crate) fn write(name: &str, bytes: &[u8]) {
    std::fs::write(root().join(name), bytes).unwrap();
}

/// The bytes of a file in the tests' folder.
pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(root().join(name)).unwrap()
}

/// A big-ann file of floats, whose header says what it is told.
pub(crate) fn fbin(n: u32, dim: u32, values: &[f32]) -> Vec<u8> {
    let mut bytes = [n.to_le_bytes(), dim.to_le_bytes()].concat();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// A good file of `n` x `dim` floats, one of which is replaced.
pub(crate) fn fbin_with(n: u32, dim: u32, at: usize, value: f32) -> Vec<u8> {
    let mut values: Vec<f32> = (0..n * dim).map(|i| 1.0 + (i * 37 % 101) as f32).collect();
    values[at] = value;
    fbin(n, dim, &values)
}

/// The ids of an ibin file, with their number per row.
pub(crate) fn ibin(name: &str) -> (usize, Vec<u32>) {
    let bytes = read(name);
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
    assert_eq!(words.len(), 2 + (words[0] * words[1]) as usize);
    (words[1] as usize, words[2..].to_vec())
}

/// The contents of a folder, but for the lock.
pub(crate) fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| name != "LOCK")
        .map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

/// Fails unless two folders of the tests hold the same.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    let (left, right) = (contents(a), contents(b));
    assert!(left.keys().eq(right.keys()), "{:?}\n{:?}", left.keys(), right.keys());
    for (name, bytes) in &left {
        assert!(bytes == &right[name], "{name} differs");
    }
}

/// Copies a folder.
pub(crate) fn copy(from: &str, to: &str) {
    let to = root().join(to);
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(root().join(from)).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Names of the files of an index, but for the lock.
pub(crate) fn names(dir: &str) -> Vec<String> {
    contents(&root().join(dir)).into_keys().collect()
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}
