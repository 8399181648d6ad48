//! `fvecs`, `bvecs`, `ivecs`: every row is an i32 dimension followed by that many elements
//! (the format of the TEXMEX corpora, <http://corpus-texmex.irisa.fr>).

use crate::format::check_dim;
use crate::stream::{ByteStream, plain_len};
use crate::{DatasetError, Result};

/// Bytes of the dimension in front of each row.
pub(crate) const PREFIX: usize = 4;

/// Dimension and number of rows of the file that `stream` has just opened. A plain file is judged by its
/// length; a compressed one is read to its end, every dimension checked.
pub(crate) fn shape(stream: &mut ByteStream, element_bytes: usize, gz: bool) -> Result<(usize, u64)> {
    let mut prefix = [0; PREFIX];
    stream.fill_header(&mut prefix, PREFIX as u64)?;
    let first = i32::from_le_bytes(prefix);
    let Ok(dim) = u64::try_from(first) else {
        return Err(DatasetError::header(stream.path(), "dimension", first, "1 to 65535"));
    };
    let dim = check_dim(stream.path(), dim)?;
    let payload = (dim * element_bytes) as u64;
    let row = payload + PREFIX as u64;
    let total = if gz { pass(stream, dim as u32, payload)? } else { plain_len(stream.path())? };
    if total % row != 0 {
        let shape = format!("whole rows of {row} bytes, dimension {dim}");
        return Err(stream.wrong_size(total, total.next_multiple_of(row), shape));
    }
    Ok((dim, total / row))
}

/// Reads a compressed file to its end from behind its first prefix; returns its length in bytes.
fn pass(stream: &mut ByteStream, dim: u32, payload: u64) -> Result<u64> {
    let mut row = 0;
    loop {
        let wanted = stream.position() + payload;
        stream.skip(payload)?;
        row += 1;
        let mut prefix = [0; PREFIX];
        // a short row ends the stream: the caller sees the length
        if stream.position() < wanted || stream.fill(&mut prefix)? < PREFIX {
            return Ok(stream.position());
        }
        check_prefix(stream, prefix, dim, row)?;
    }
}

/// Refuses a row of another dimension.
pub(crate) fn check_prefix(stream: &ByteStream, prefix: [u8; PREFIX], dim: u32, row: u64) -> Result<()> {
    let found = u32::from_le_bytes(prefix);
    if found != dim {
        let file = stream.path().to_owned();
        return Err(DatasetError::MixedDimensions { file, row, found, expected: dim });
    }
    Ok(())
}
