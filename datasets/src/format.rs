//! Which format a file has, by its name.

use std::path::Path;

use crate::{DatasetError, ElementType, Result};

/// Largest dimension accepted anywhere.
pub const MAX_DIM: usize = 65_535;

/// Extensions of files of vectors, for error messages.
const VECTORS: &str = "fvecs bvecs fbin f16bin u8bin i8bin npy, each also with .gz (ids: ivecs ibin i64bin)";
const IDS: &str = "ibin i64bin ivecs npy, each also with .gz";

/// How rows lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Each row led by its dimension as i32.
    Vecs(ElementType),
    /// u32 rows, u32 columns, then the rows.
    Bin(ElementType),
    /// NumPy's own.
    Npy,
}

/// How ids lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdFormat {
    /// Each row led by its length as i32, then i32 ids.
    Ivecs,
    /// u32 rows, u32 columns, then u32 ids.
    Ibin,
    /// u32 rows, u32 columns, then u64 ids.
    I64bin,
    /// NumPy's own.
    Npy,
}

/// The extension without `.gz`, and whether `.gz` was there.
pub(crate) fn extension(path: &Path) -> (String, bool) {
    let lower =
        |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match lower(path) {
        gz if gz == "gz" => (lower(&path.with_extension("")), true),
        other => (other, false),
    }
}

/// Format and gzip flag of a file of vectors.
pub(crate) fn of_vectors(path: &Path) -> Result<(Format, bool)> {
    let (found, gz) = extension(path);
    let format = match found.as_str() {
        "fvecs" => Format::Vecs(ElementType::F32),
        "bvecs" => Format::Vecs(ElementType::U8),
        "fbin" => Format::Bin(ElementType::F32),
        "f16bin" => Format::Bin(ElementType::F16),
        "u8bin" => Format::Bin(ElementType::U8),
        "i8bin" => Format::Bin(ElementType::I8),
        "npy" => Format::Npy,
        _ => return Err(DatasetError::Extension { file: path.to_owned(), found, expected: VECTORS }),
    };
    Ok((format, gz))
}

/// Format and gzip flag of a file of ids.
pub(crate) fn of_ids(path: &Path) -> Result<(IdFormat, bool)> {
    let (found, gz) = extension(path);
    let format = match found.as_str() {
        "ivecs" => IdFormat::Ivecs,
        "ibin" => IdFormat::Ibin,
        "i64bin" => IdFormat::I64bin,
        "npy" => IdFormat::Npy,
        _ => return Err(DatasetError::Extension { file: path.to_owned(), found, expected: IDS }),
    };
    Ok((format, gz))
}

/// Checks a dimension read from a header.
pub(crate) fn check_dim(path: &Path, found: u64) -> Result<usize> {
    match usize::try_from(found) {
        Ok(dim) if (1..=MAX_DIM).contains(&dim) => Ok(dim),
        _ => Err(DatasetError::header(path, "dimension", found, format!("1 to {MAX_DIM}"))),
    }
}

/// Checks a number of rows read from a header.
pub(crate) fn check_count(path: &Path, found: u64) -> Result<u64> {
    if found == 0 {
        return Err(DatasetError::header(path, "number of rows", 0, "at least 1"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format() {
        assert_eq!(of_vectors(Path::new("a/b.FVECS")).unwrap(), (Format::Vecs(ElementType::F32), false));
        assert_eq!(of_vectors(Path::new("b.f16bin.gz")).unwrap(), (Format::Bin(ElementType::F16), true));
        assert_eq!(of_ids(Path::new("x.y.i64bin")).unwrap(), (IdFormat::I64bin, false));
        for bad in ["x", "x.gz", "x.csv", ".fbin", "x.ibin"] {
            let error = of_vectors(Path::new(bad)).unwrap_err().to_string();
            assert!(error.contains("fvecs bvecs fbin"), "{error}");
        }
    }
}
