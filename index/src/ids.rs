//! Point ids on disk, for indexes whose ids are not row numbers: pages of `u64`, looked up by row.

use nearline_storage::{ExtentFile, ExtentFileWriter, ExtentHeader, PAGE, ReadRange, StorageError};

use crate::error::{IndexError, Result};
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

/// The ids of a page.
pub(crate) fn ids_of(file: &ExtentFile, page: usize) -> Result<Vec<u64>> {
    let mut buf = Vec::new();
    Ok(read_page(file, page, &mut buf)?.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

/// Looks up the id of a row.
pub(crate) fn read_id(file: &ExtentFile, row: RowId, buf: &mut Vec<u8>) -> Result<u64> {
    let (page, at) = (row.0 as usize / PAGE_IDS, row.0 as usize % PAGE_IDS);
    let ids = read_page(file, page, buf)?;
    let id = ids.get(at).map(|bytes| u64::from_le_bytes(*bytes));
    id.ok_or_else(|| wrong(file, page, "ids of a page", ids.len() as u64, at as u64 + 1))
}

fn read_page<'a>(file: &ExtentFile, page: usize, buf: &'a mut Vec<u8>) -> Result<&'a [[u8; 8]]> {
    let extent = file.read_extent(ReadRange { offset: offset(page), bytes: PAGE }, buf)?;
    let owner = u64::from(extent.header.owner);
    if owner != page as u64 {
        return Err(wrong(file, page, "page of ids", owner, page as u64));
    }
    Ok(extent.plane(0).as_chunks().0)
}

fn offset(page: usize) -> u64 {
    ((page + 1) * PAGE) as u64
}

fn wrong(file: &ExtentFile, page: usize, what: &'static str, found: u64, expected: u64) -> IndexError {
    StorageError::corrupt(file.file().path(), offset(page), what, found, expected).into()
}
