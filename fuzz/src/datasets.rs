//! What the targets of the data-set readers share: bytes become a file, the file is read to its end.

use std::fs;
use std::path::{Path, PathBuf};

use nearline_datasets::{GroundTruth, IdFile, VectorFile, check_finite, load_raw, read_ids};

/// Writes the bytes under this name in a folder of this process.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("nearline-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}

/// Whoever opens a file of vectors gets an error in one line or exactly the rows that the header promises.
pub fn vectors(path: &Path) {
    let file = match VectorFile::open(path) {
        Ok(file) => file,
        Err(error) => return one_line(&error.to_string()),
    };
    let mut buffer = vec![0; 3 * file.row_bytes()];
    let mut rows = file.rows(0).expect("row 0 of a file that opened");
    let mut bytes = Vec::new();
    loop {
        match rows.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n * file.row_bytes()]),
            Err(error) => {
                one_line(&error.to_string());
                assert!(load_raw(path).is_err());
                return;
            }
        }
    }
    assert_eq!(bytes.len() as u64, file.count() * file.row_bytes() as u64);
    assert_eq!(load_raw(path).expect("a file just read").bytes, bytes);
    if let Err(error) = check_finite(file.element(), &bytes, file.dim(), 0, path) {
        one_line(&error.to_string());
    }
}

/// The same for ids.
pub fn ids(path: &Path) {
    let file = match IdFile::open(path) {
        Ok(file) => file,
        Err(error) => return one_line(&error.to_string()),
    };
    match read_ids(path) {
        Ok(ids) => assert_eq!(ids.len() as u64, file.rows() * file.columns() as u64),
        Err(error) => one_line(&error.to_string()),
    }
}

/// The same for ground truth, which also survives a round trip.
pub fn ground_truth(path: &Path) {
    match GroundTruth::read(path) {
        Ok(truth) => {
            assert_eq!(truth.ids.len(), truth.queries * truth.k);
            let copy = path.with_extension("copy");
            truth.write(&copy).expect("what was read can be written");
            assert_eq!(GroundTruth::read(&copy).expect("what was written can be read").ids, truth.ids);
        }
        Err(error) => one_line(&error.to_string()),
    }
}

/// Lets the first two words (rows, columns) promise exactly the bytes behind them.
pub fn honest(bytes: &mut [u8], entry: usize) {
    if bytes.len() < 8 {
        return;
    }
    let columns = (usize::from(bytes[4]) % 9).max(1);
    let rows = (bytes.len() - 8) / (columns * entry);
    bytes[..4].copy_from_slice(&(rows as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(columns as u32).to_le_bytes());
}

fn one_line(error: &str) {
    assert!(!error.is_empty() && !error.contains('\n'), "{error}");
}
