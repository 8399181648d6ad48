//! Vectors as bytes: rows of numbers, in a file of numpy or bare, perhaps each behind an id.

use crate::content::Content;
use crate::error::ApiError;

/// What bare rows and files of numpy are called.
pub(crate) const BARE: &str = "application/octet-stream";
pub(crate) const NPY: &str = "application/x-npy";

const MAGIC: &[u8] = b"\x93NUMPY";
/// Bytes of an id before a row.
const ID: usize = size_of::<u64>();
const ELEMENT: usize = size_of::<f32>();

/// Where the ids of rows come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// There are none.
    None,
    /// Counted from this one on.
    From(u64),
    /// Eight bytes before each row, little-endian.
    Inside,
}

/// A row, and its id if there are any.
pub(crate) type Row = (Option<u64>, Vec<f32>);

/// The rows of a body, each of so many numbers.
///
/// # Errors
/// 415 for another kind of body, 400 for bytes that are not such rows.
pub(crate) fn read(content: &Content, dim: usize, ids: Ids) -> Result<Vec<Row>, ApiError> {
    match kind(content) {
        Some(BARE) => bare(content.bytes(), dim, ids),
        Some(NPY) if ids == Ids::Inside => Err(ApiError::bad_request(
            "ids: a file of numpy has no room for them; expected `start`, or bare rows",
        )),
        Some(NPY) => bare(npy(content.bytes(), dim)?, dim, ids),
        other => Err(unknown(other, &[BARE, NPY])),
    }
}

/// The kind of a body, if the client says.
pub(crate) fn kind(content: &Content) -> Option<&str> {
    content.media_type().map(|kind| kind.split(';').next().unwrap_or_default().trim())
}

/// Refuses another kind of body.
pub(crate) fn unknown(found: Option<&str>, expected: &[&str]) -> ApiError {
    let (found, expected) = (found.unwrap_or("not there"), expected.join(" or "));
    ApiError::media_type(format_args!("content-type is {found}; expected {expected}"))
}

/// The numbers of rows without ids, back to back.
///
/// # Errors
/// As [`read`].
pub(crate) fn flat(content: &Content, dim: usize) -> Result<Vec<f32>, ApiError> {
    Ok(read(content, dim, Ids::None)?.into_iter().flat_map(|(_, row)| row).collect())
}

/// Numbers as bytes.
pub(crate) fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A file of numpy of these numbers, in C order, of two dimensions or more.
pub(crate) fn file(shape: &[usize], numbers: &[f32]) -> Vec<u8> {
    let shape = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    // The numbers begin at a multiple of 64.
    let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let header = format!("{header:<width$}\n", width = length - 1);
    [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), header.as_bytes(), &bytes(numbers)].concat()
}

fn bare(bytes: &[u8], dim: usize, ids: Ids) -> Result<Vec<Row>, ApiError> {
    let id_bytes = if ids == Ids::Inside { ID } else { 0 };
    let row_bytes = id_bytes + dim * ELEMENT;
    if !bytes.len().is_multiple_of(row_bytes) {
        return Err(ApiError::bad_request(format_args!(
            "a body of {} bytes; expected a multiple of {row_bytes}: rows of {dim} f32, each with {id_bytes} bytes of id",
            bytes.len()
        )));
    }
    let rows = bytes.chunks_exact(row_bytes).enumerate();
    rows.map(|(at, row)| {
        let (id, numbers) = row.split_at(id_bytes);
        let id = match ids {
            Ids::None => None,
            Ids::From(first) => {
                let id = first.checked_add(at as u64);
                Some(id.ok_or_else(|| {
                    ApiError::bad_request(format_args!("start is {first}: ids would overflow"))
                })?)
            }
            Ids::Inside => id.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
        };
        Ok((id, numbers.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    })
    .collect()
}

/// The numbers of a file of numpy: two dimensions of little-endian f32, row by row.
pub(crate) fn npy(bytes: &[u8], dim: usize) -> Result<&[u8], ApiError> {
    let odd = |what: &str| {
        ApiError::bad_request(format_args!(
            "npy: {what}; expected an array of '<f4', in C order, of shape (rows, {dim})"
        ))
    };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| odd("it does not begin as such a file"))?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(|| odd("it is too short"))?;
    let (length, rest) = match version[0] {
        1 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest)),
        2 | 3 => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest)),
        _ => return Err(odd("its version is not known")),
    }
    .ok_or_else(|| odd("it is too short"))?;
    let (header, numbers) = rest.split_at_checked(length).ok_or_else(|| odd("it is too short"))?;
    let header: String = String::from_utf8_lossy(header).split_whitespace().collect();
    let (_, shape) = header.split_once("'shape':(").ok_or_else(|| odd("it has no shape"))?;
    let rows =
        shape.strip_suffix("}").and_then(|_| shape.split_once(&format!(",{dim})"))).map(|(rows, _)| rows);
    let rows: usize = rows.and_then(|rows| rows.parse().ok()).ok_or_else(|| odd("it is of another shape"))?;
    if !header.contains("'descr':'<f4'") || !header.contains("'fortran_order':False") {
        return Err(odd("it has other numbers or another order"));
    }
    match rows.checked_mul(dim * ELEMENT) {
        Some(expected) if expected == numbers.len() => Ok(numbers),
        _ => Err(odd(&format!("{} bytes of numbers for {rows} rows", numbers.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, numbers: &[f32]) -> Vec<u8> {
        let mut file = [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        file
    }

    #[test]
    fn files_of_numpy_are_read_or_refused() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, -6.5];
        let whole = file(good, &numbers);
        let rows = bare(npy(&whole, 3).unwrap(), 3, Ids::From(7)).unwrap();
        assert_eq!(rows, [(Some(7), vec![1.0, 2.0, 3.0]), (Some(8), vec![4.0, 5.0, -6.5])]);
        for length in 0..whole.len() {
            assert!(npy(&whole[..length], 3).is_err(), "{length} bytes");
        }
        assert!(npy(&whole, 2).is_err());
        let made = super::file(&[2, 3], &numbers);
        assert_eq!(bare(npy(&made, 3).unwrap(), 3, Ids::From(7)).unwrap(), rows);
        assert!((made.len() - 24).is_multiple_of(64));
        for (from, to) in [
            ("<f4", "<f8"),
            ("<f4", ">f4"),
            ("False", "True"),
            ("(2, 3)", "(6,)"),
            ("(2, 3)", "(2, 3, 1)"),
            ("(2, 3)", "(99999999999999999999, 3)"),
            ("(2, 3)", "(6148914691236517206, 3)"),
        ] {
            assert!(npy(&file(&good.replace(from, to), &numbers), 3).is_err(), "{to}");
        }
    }

    #[test]
    fn bare_rows_have_ids_or_not() {
        let mut bytes = 5_u64.to_le_bytes().to_vec();
        bytes.extend(1.5_f32.to_le_bytes());
        assert_eq!(bare(&bytes, 1, Ids::Inside).unwrap(), [(Some(5), vec![1.5])]);
        assert_eq!(bare(&bytes, 3, Ids::None).unwrap().len(), 1);
        assert!(bare(&bytes, 2, Ids::None).is_err() && bare(&bytes, 1, Ids::From(u64::MAX)).is_err());
        assert!(bare(&[], 1, Ids::Inside).unwrap().is_empty());
    }
}
