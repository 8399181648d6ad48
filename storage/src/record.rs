//! Small files of a single extent, replaced as a whole: manifests, catalogs, the state of a build.

use crate::atomic::replace_file;
use crate::codec::Decoder;
use crate::disk::{Disk, PAGE, ReadRange};
use crate::error::Result;
use crate::extent::{ExtentHeader, ExtentKey, encode_extent};
use crate::sealed::{ExtentFile, FileHeader};

const EXTENT_KIND: u16 = 2;

/// Replaces the file `name` durably: a crash leaves the old one or the new one.
///
/// # Errors
/// As [`replace_file`].
pub fn replace_record(disk: &dyn Disk, name: &str, kind: [u8; 4], body: &[u8]) -> Result<()> {
    // Such a file is found by its name and replaced by others of that name: its kind is identity enough.
    let file_id = u64::from(u32::from_le_bytes(kind));
    let mut file = FileHeader { kind, file_id }.encode().to_vec();
    let header = ExtentHeader { kind: EXTENT_KIND, codec: 0, owner: 0, count: 1 };
    encode_extent(&header, &[body], ExtentKey { file_id, offset: PAGE as u64 }, &mut file);
    replace_file(disk, name, &file)
}

/// Reads the file `name` and decodes all of its body.
///
/// # Errors
/// If it is missing, damaged, of another kind, or `decode` fails or leaves bytes over.
pub fn read_record<T>(
    disk: &dyn Disk,
    name: &str,
    kind: [u8; 4],
    decode: impl FnOnce(&mut Decoder<'_>) -> Result<T>,
) -> Result<T> {
    let file = ExtentFile::open(disk, name, kind)?;
    let range = ReadRange { offset: PAGE as u64, bytes: file.len().saturating_sub(PAGE as u64) as usize };
    let mut bytes = Vec::new();
    let extent = file.read_extent(range, &mut bytes)?;
    let mut body = Decoder::new(extent.plane(0), file.file().path(), PAGE as u64);
    let value = decode(&mut body)?;
    body.finish()?;
    Ok(value)
}
