//! Point ids on disk, for indexes whose ids are not row numbers: pages of `u64`, looked up by row.

use nearline_storage::{ExtentFile, ExtentFileWriter, ExtentHeader, PAGE, ReadRange, StorageError};

use crate::error::Result;
use crate::vector::RowId;

const EXTENT_KIND: u16 = 8;
/// Ids in one page-sized extent.
pub(crate) const PAGE_IDS: usize = (PAGE - 64) / 8;

/// Writes one page of ids: those of rows `page * PAGE_IDS` and on.
pub(crate) fn write_page(writer: &mut ExtentFileWriter, page: u32, ids: &[u64]) -> Result<()> {
    let header = ExtentHeader { kind: EXTENT_KIND, codec: 0, owner: page, count: ids.len() as u32 };
    writer.append(&header, &[bytemuck::cast_slice(ids)])?;
    Ok(())
}

/// Looks up the id of a row.
pub(crate) fn read_id(file: &ExtentFile, row: RowId, buf: &mut Vec<u8>) -> Result<u64> {
    let (page, at) = (row.0 as usize / PAGE_IDS, row.0 as usize % PAGE_IDS);
    let range = ReadRange { offset: ((page + 1) * PAGE) as u64, bytes: PAGE };
    let extent = file.read_extent(range, buf)?;
    let ids = extent.plane(0).as_chunks().0;
    let id = ids.get(at).filter(|_| extent.header.owner as usize == page);
    id.map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(|| {
        StorageError::Corrupt {
            file: file.file().path().to_owned(),
            offset: range.offset,
            what: "page of ids",
            found: u64::from(extent.header.owner),
            expected: page as u64,
        }
        .into()
    })
}
