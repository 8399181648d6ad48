//! Tables in the bytes of other systems, beyond [`super::Dialect`]: the product quantisation of Faiss, and rows behind keys.

use std::borrow::Cow;

use crate::error::{IndexError, Result};
use crate::vector::DIM_MAX;

use super::product::{Codebook, ProductCodec};
use super::rows::{RowCodec, Rows};
use super::table::Table;

/// How an index of product quantisation begins.
const FAISS: &[u8; 4] = b"IxPq";
/// Two numbers of its head that say nothing.
const DUMMY: u64 = 1 << 20;
/// The metric it is written with: distances.
const L2: u32 = 1;
/// How it is searched there: kind of search (u32), whether queries are signs (u8), a threshold (u32).
const SEARCH_BYTES: u64 = 9;

/// The bytes of a file, read from front to back.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, what: &str, count: u64) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        match usize::try_from(count).ok().and_then(|count| left.get(..count)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(self.wrong(what, format!("{} bytes left", left.len()), format!("{count}"))),
        }
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(self.take(what, 4)?.iter().rev().fold(0, |all, &byte| all << 8 | u32::from(byte)))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(self.take(what, 8)?.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
    }

    /// A number that was read just now and must be another.
    fn expect(&self, what: &str, size: usize, found: u64, expected: u64) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        let before = Reader { bytes: self.bytes, at: self.at - size };
        Err(before.wrong(what, found.to_string(), expected.to_string()))
    }

    fn wrong(&self, what: &str, found: String, expected: String) -> IndexError {
        IndexError::input(format!("offset {}, {what}", self.at), found, expected)
    }
}

/// Reads a file of Faiss's `IndexPQ` (fourcc `IxPq`, 4 or 8 bits a code): its centroids, and its vectors as rows.
///
/// # Errors
/// When the bytes are no such file, or damaged; the error has the offset.
pub fn read_faiss_pq(bytes: &[u8]) -> Result<Rows<ProductCodec>> {
    let mut reader = Reader { bytes, at: 0 };
    let magic = reader.take("how it begins", 4)?;
    if magic != FAISS {
        let found = String::from_utf8_lossy(magic).into_owned();
        return Err(Reader { bytes, at: 0 }.wrong("how it begins", found, "IxPq, an index of PQ".to_owned()));
    }
    let dim = u64::from(reader.u32("dimensions")?);
    let rows = reader.u64("number of vectors")?;
    reader.take("what says nothing", 16)?;
    let trained = reader.take("whether it is trained", 1)?;
    reader.expect("whether it is trained", 1, u64::from(trained[0]), 1)?;
    if reader.u32("metric")? > L2 {
        reader.take("argument of the metric", 4)?;
    }
    let inner = reader.u64("dimensions of the quantiser")?;
    reader.expect("dimensions of the quantiser", 8, inner, dim)?;
    let (parts, bits) = (reader.u64("parts of a vector")?, reader.u64("bits of a code")?);
    if dim == 0 || dim > DIM_MAX as u64 || parts == 0 || dim % parts != 0 || !matches!(bits, 4 | 8) {
        let found = format!("{dim} dimensions in {parts} parts of {bits} bits");
        let expected = format!("1 to {DIM_MAX} dimensions, equal parts, 4 or 8 bits");
        return Err(reader.wrong("shape of the quantiser", found, expected));
    }
    let count = reader.u64("number of centroid values")?;
    reader.expect("number of centroid values", 8, count, dim << bits)?;
    let centroids: Vec<f32> = bytemuck::pod_collect_to_vec(reader.take("centroids", count * 4)?);
    let at = reader.at;
    let book = Codebook::new(dim as usize, parts as usize, 1 << bits, centroids).map_err(|error| {
        Reader { bytes, at }.wrong("centroids", error.to_string(), "finite ones".to_owned())
    })?;
    let codec = ProductCodec::new(book);
    let length = reader.u64("bytes of codes")?;
    let expected = rows.checked_mul(codec.row_bytes() as u64);
    reader.expect("bytes of codes", 8, length, expected.unwrap_or(u64::MAX))?;
    let codes = reader.take("codes", length)?.to_vec();
    reader.take("how it is searched", SEARCH_BYTES)?;
    if reader.at != bytes.len() {
        let left = bytes.len() - reader.at;
        return Err(reader.wrong("end of the file", format!("{left} bytes more"), "none".to_owned()));
    }
    Rows::from_bytes(codec, codes)
}

/// The same as Faiss would write it, with the metric L2.
pub fn write_faiss_pq(rows: &Rows<ProductCodec>) -> Vec<u8> {
    // Faiss keeps codes of so many bits as such tables do: there are 16 centroids or 256.
    let book = rows.codec().codebook();
    let (dim, bits) = (book.dim() as u64, book.per_part().trailing_zeros());
    let mut out = FAISS.to_vec();
    out.extend_from_slice(&(dim as u32).to_le_bytes());
    for number in [rows.rows(), DUMMY, DUMMY] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.push(1);
    out.extend_from_slice(&L2.to_le_bytes());
    for number in [dim, book.parts() as u64, u64::from(bits), book.centroids().len() as u64] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(bytemuck::cast_slice(book.centroids()));
    out.extend_from_slice(&(rows.row_bytes().len() as u64).to_le_bytes());
    out.extend_from_slice(rows.row_bytes());
    out.extend_from_slice(&[0; 5]);
    // A threshold that nothing passes, as Faiss sets it.
    out.extend_from_slice(&(book.parts() as u32 * bits + 1).to_le_bytes());
    out
}

/// Rows in the order of their keys: `keys` has 8 bytes for each (HPS's `key`, DeepRec's `-keys`), `values` as many rows of
/// `dim` f32 in the same order (`emb_vector`, `-values`). Keys are 0 and the numbers that follow, each once, in any order.
///
/// # Errors
/// When bytes are missing or too many, or keys are not those; the error has the offset.
pub fn rows_by_key<'a>(keys: &[u8], values: &'a [u8], dim: usize) -> Result<Cow<'a, [u8]>> {
    let (keys, rest) = keys.as_chunks::<8>();
    let row_bytes = dim * 4;
    if !rest.is_empty() {
        let at = keys.len() * 8;
        return Err(IndexError::input(
            format!("keys, offset {at}"),
            format!("{} bytes", rest.len()),
            "8 each",
        ));
    }
    if row_bytes == 0 || dim > DIM_MAX || Some(values.len()) != keys.len().checked_mul(row_bytes) {
        let found = format!("{} bytes for {} keys", values.len(), keys.len());
        return Err(IndexError::input("values", found, format!("{row_bytes} each, {dim} dimensions")));
    }
    let keys: Vec<u64> = keys.iter().map(|&key| u64::from_le_bytes(key)).collect();
    if keys.iter().enumerate().all(|(at, &key)| key == at as u64) {
        return Ok(values.into());
    }
    let mut rows = vec![None; keys.len()];
    for ((at, &key), row) in keys.iter().enumerate().zip(values.chunks_exact(row_bytes)) {
        match usize::try_from(key).ok().and_then(|key| rows.get_mut(key)) {
            Some(place @ None) => *place = Some(row),
            _ => {
                let expected = format!("each of 0 to {} once", keys.len() - 1);
                return Err(IndexError::input(format!("keys, offset {}", at * 8), key.to_string(), expected));
            }
        }
    }
    Ok(rows.into_iter().flatten().flatten().copied().collect::<Vec<u8>>().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Method, Segments, open};
    use super::*;

    /// Written by Faiss 1.15 (`benches/scripts/embedding_files.py`).
    const GOLDEN: [(&[u8], &str); 2] = [
        (
            include_bytes!("../../tests/data/embedding/faiss-pq-4.index"),
            include_str!("../../tests/data/embedding/faiss-pq-4.txt"),
        ),
        (
            include_bytes!("../../tests/data/embedding/faiss-pq-8.index"),
            include_str!("../../tests/data/embedding/faiss-pq-8.txt"),
        ),
    ];

    #[test]
    fn files_of_faiss_are_read_as_it_decodes_them_and_written_byte_by_byte() {
        for (bytes, decoded) in GOLDEN {
            let table = read_faiss_pq(bytes).unwrap();
            let expected: Vec<u32> = decoded.split_whitespace().map(|bits| bits.parse().unwrap()).collect();
            let mut out = vec![0.0; expected.len()];
            let ids: Vec<u64> = (0..table.rows()).collect();
            table.lookup(&ids, &mut out).unwrap();
            assert_eq!(out.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), expected);
            assert_eq!(write_faiss_pq(&table), bytes);
        }
    }

    #[test]
    fn damaged_files_of_faiss_are_refused_with_the_offset() {
        for (bytes, _) in GOLDEN {
            for length in 0..bytes.len() {
                assert!(read_faiss_pq(&bytes[..length]).is_err(), "{length} bytes");
            }
            assert!(read_faiss_pq(&[bytes, &[0]].concat()).is_err());
            // The head, up to the centroids, but for the vectors' dummies, and the metric.
            for at in (0..16).chain([32]).chain(37..69) {
                let mut bad = bytes.to_vec();
                bad[at] ^= 0x51;
                let error = read_faiss_pq(&bad).unwrap_err().to_string();
                assert!(error.contains("offset "), "{at}: {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn faiss_and_back(
            parts in 1usize..5, width in 1usize..4, seed: u64, rows in 0usize..20,
            per_part in prop::sample::select(vec![1usize, 3, 10, 16, 17, 100, 255, 256]),
        ) {
            let dim = parts * width;
            let values = crate::embedding::uniform_values(seed, 1, per_part * dim, 3.0);
            let book = Codebook::new(dim, parts, per_part, values).unwrap();
            let values = crate::embedding::uniform_values(seed, 2, rows * dim, 3.0);
            let table = Rows::encode(ProductCodec::new(book.clone()), &values).unwrap();
            let back = read_faiss_pq(&write_faiss_pq(&table)).unwrap();
            prop_assert_eq!(back.row_bytes(), table.row_bytes());
            prop_assert_eq!(back.codec(), table.codec());
            let segments = table.segments();
            let opened = open(Method::Product, rows as u64, dim, &table.params(), Segments(&segments)).unwrap();
            let (mut codes, mut expected, mut found) = (vec![0; parts], vec![0.0; dim], vec![0.0; dim]);
            for (id, values) in values.chunks_exact(dim).enumerate() {
                book.encode(values, per_part, &mut codes);
                book.decode(&codes, &mut expected);
                opened.read(id as u64, &mut found);
                prop_assert_eq!(&found, &expected);
                back.read(id as u64, &mut found);
                prop_assert_eq!(&found, &expected);
            }
        }

        #[test]
        fn rows_come_in_the_order_of_their_keys(order in Just((0..12u64).collect::<Vec<_>>()).prop_shuffle()) {
            let keys: Vec<u8> = order.iter().flat_map(|key| key.to_le_bytes()).collect();
            let values: Vec<u8> = order.iter().flat_map(|&key| [key as f32, -(key as f32)]).flat_map(f32::to_le_bytes).collect();
            let sorted: Vec<u8> = (0..12).flat_map(|key| [key as f32, -(key as f32)]).flat_map(f32::to_le_bytes).collect();
            prop_assert_eq!(rows_by_key(&keys, &values, 2).unwrap().into_owned(), sorted);
            prop_assert!(rows_by_key(&keys, &values, 3).is_err());
            prop_assert!(rows_by_key(&keys[1..], &values, 2).is_err());
            let mut twice = keys.clone();
            twice.copy_within(0..8, 88);
            let error = rows_by_key(&twice, &values, 2).unwrap_err().to_string();
            prop_assert!(error.contains("keys, offset 88"), "{}", error);
        }
    }
}
