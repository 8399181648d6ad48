//! Whole files in memory.

use std::path::Path;

use crate::{DatasetError, ElementType, Result, VectorFile};

/// Bytes set aside for a compressed file before any of its data has been seen: its header may lie.
const TRUST: usize = 1 << 20;

/// Vectors in memory, elements as in their file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawVectors {
    /// Type of the elements.
    pub element: ElementType,
    /// Elements per row.
    pub dim: usize,
    /// Number of rows.
    pub count: usize,
    /// `count * dim` little-endian elements, row by row.
    pub bytes: Vec<u8>,
}

impl RawVectors {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.dim * self.element.bytes()
    }

    /// The bytes of row `i`, which must be below `count`.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.bytes[i * self.row_bytes()..(i + 1) * self.row_bytes()]
    }

    /// All elements widened to f32 (exact), `count * dim`.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.count * self.dim];
        self.element.widen(&self.bytes, &mut out);
        out
    }
}

/// Reads all rows of a file of vectors.
///
/// # Errors
/// As [`VectorFile::open`] and [`RowReader::read`](crate::RowReader::read), or data that cannot fit in memory.
pub fn load_raw(path: &Path) -> Result<RawVectors> {
    load_all(&VectorFile::open(path)?)
}

/// Reads all rows of an open file.
pub(crate) fn load_all(file: &VectorFile) -> Result<RawVectors> {
    let bytes = read_all(file)?;
    let count = bytes.len() / file.row_bytes();
    Ok(RawVectors { element: file.element(), dim: file.dim(), count, bytes })
}

/// Reads all rows of a file of vectors, widened to f32 (exact for every type): the values, row by row, and
/// the dimension.
///
/// # Errors
/// As [`load_raw`].
pub fn load_f32(path: &Path) -> Result<(Vec<f32>, usize)> {
    let raw = load_raw(path)?;
    Ok((raw.to_f32(), raw.dim))
}

fn read_all(file: &VectorFile) -> Result<Vec<u8>> {
    let row = file.row_bytes() as u64;
    let total = file.expected_len()?;
    if usize::try_from(total).is_err() {
        let expected = "data that fits in memory (read it by rows instead)";
        return Err(DatasetError::header(file.path(), "shape", file.shape(), expected));
    }
    let mut rows = file.rows(0)?;
    let (mut bytes, mut left) = (Vec::new(), file.count());
    while left > 0 {
        // the length of a plain file is known; a compressed one may ask for as much again as it has given
        let trust = if file.is_gz() { bytes.len().max(TRUST) as u64 } else { total };
        let step = left.min((trust / row).max(1));
        let start = bytes.len();
        bytes.resize(start + (step * row) as usize, 0);
        left -= rows.read(&mut bytes[start..])? as u64;
    }
    Ok(bytes)
}
