//! The footer: the last page of a table, from which everything else is found.

use crate::blob::check;
use crate::codec::{Decoder, Encoder};
use crate::disk::{PAGE, ReadRange};
use crate::error::{Result, StorageError};
use crate::extent::{ExtentHeader, HEADER};
use crate::sealed::{ExtentFile, ExtentFileWriter};
use crate::table::{FOOTER, MAX_KEY, TableSummary};

/// What the footer says.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) summary: TableSummary,
    /// The blob of the top index.
    pub(super) top: ReadRange,
    /// The blob of the filter, if there is one.
    pub(super) filter: Option<ReadRange>,
}

impl Footer {
    /// Writes the footer, which ends the file.
    pub(super) fn write(&self, writer: &mut ExtentFileWriter) -> Result<()> {
        let Self { summary, top, filter } = self;
        let filter = filter.unwrap_or(ReadRange { offset: 0, bytes: 0 });
        let mut out = Encoder::new();
        out.u64(summary.entries).u64(summary.bytes);
        out.u64(top.offset).u64(top.bytes as u64).u64(filter.offset).u64(filter.bytes as u64);
        out.bytes(&summary.smallest).bytes(&summary.largest);
        let header = ExtentHeader { kind: FOOTER, codec: 0, owner: 0, count: 1 };
        writer.append(&header, &[out.as_bytes()])?;
        Ok(())
    }

    /// Reads the footer of a file.
    pub(super) fn read(file: &ExtentFile) -> Result<Self> {
        let path = file.file().path();
        let Some(offset) = file.len().checked_sub(PAGE as u64).filter(|offset| *offset >= PAGE as u64) else {
            return Err(StorageError::unexpected_end(path, PAGE as u64, PAGE as u64, file.len()));
        };
        let mut buf = Vec::new();
        let extent = file.read_extent(ReadRange { offset, bytes: PAGE }, &mut buf)?;
        let wanted = [
            ("kind of a table's last extent", u64::from(extent.header.kind), u64::from(FOOTER)),
            ("number of planes", extent.plane_count() as u64, 1),
        ];
        check(path, offset, &wanted)?;
        let mut fields = Decoder::new(extent.plane(0), path, offset + HEADER as u64);
        let (entries, bytes) = (fields.u64()?, fields.u64()?);
        if bytes != file.len() {
            return Err(fields.wrong(offset + HEADER as u64 + 8, "length of the table", file.len(), bytes));
        }
        let top = range(&mut fields, offset)?;
        let filter = range(&mut fields, offset)?;
        let (smallest, largest) = (key(&mut fields)?, key(&mut fields)?);
        fields.finish()?;
        if top.bytes == 0 {
            return Err(StorageError::corrupt(path, offset, "length of the top index", 0, PAGE as u64));
        }
        let summary = TableSummary { entries, bytes, smallest, largest };
        Ok(Self { summary, top, filter: Some(filter).filter(|filter| filter.bytes > 0) })
    }
}

/// The place of a blob, which must lie before the footer.
fn range(fields: &mut Decoder<'_>, end: u64) -> Result<ReadRange> {
    let at = fields.offset();
    let (offset, bytes) = (fields.u64()?, fields.u64()?);
    if offset.checked_add(bytes).is_none_or(|blob_end| blob_end > end) {
        return Err(fields.wrong(at, "place of an index", offset, end));
    }
    Ok(ReadRange { offset, bytes: bytes as usize })
}

fn key(fields: &mut Decoder<'_>) -> Result<Vec<u8>> {
    let at = fields.offset();
    let key = fields.bytes()?;
    if key.len() > MAX_KEY {
        return Err(fields.wrong(at, "length of a key", key.len() as u64, MAX_KEY as u64));
    }
    Ok(key.to_vec())
}
