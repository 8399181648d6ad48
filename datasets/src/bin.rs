//! `*bin` files (big-ann-benchmarks): u32 rows, u32 columns, then the rows.

use crate::Result;
use crate::stream::ByteStream;

/// Bytes of the header.
pub(crate) const HEADER: usize = 8;

/// Reads rows and columns, unchecked.
pub(crate) fn read_header(stream: &mut ByteStream) -> Result<(u32, u32)> {
    let mut header = [0; HEADER];
    stream.fill_header(&mut header, HEADER as u64)?;
    let [a, b, c, d, e, f, g, h] = header;
    Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
}

/// The header's bytes.
pub(crate) fn header(rows: u32, columns: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..4].copy_from_slice(&rows.to_le_bytes());
    out[4..].copy_from_slice(&columns.to_le_bytes());
    out
}
