//! The two small files of a space: what it is, and what of it is live.

use std::collections::BTreeMap;

use nearline_index::sdim::{Normalize, SignFamily, SignShape};
use nearline_storage::{Decoder, Disk, Encoder, StorageError, read_record, replace_record};

/// What never changes: hashing, normalisation, embeddings.
pub(super) const EPOCH: &str = "EPOCH";
/// What is live.
pub(super) const SPACE: &str = "SPACE";
const EPOCH_KIND: [u8; 4] = *b"BEPO";
const SPACE_KIND: [u8; 4] = *b"BSPC";
const VERSION: u16 = 1;
/// Files of one kind at most: more than merging ever leaves.
const FILES_MAX: u32 = 1 << 10;

/// What a space is made for.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    pub(super) store_id: u64,
    pub(super) family: SignFamily,
    pub(super) normalize: Normalize,
    pub(super) ttl: Option<u64>,
    pub(super) embedding_version: String,
}

impl Epoch {
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let shape = self.family.shape();
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.store_id);
        out.u32(shape.dim() as u32).u32(shape.groups() as u32).u32(shape.bits() as u32);
        out.u8(match self.normalize {
            Normalize::None => 0,
            Normalize::L2 => 1,
            Normalize::Count => 2,
        });
        out.u64(self.ttl.unwrap_or(0)).str(&self.embedding_version);
        for &value in self.family.projections().iter() {
            out.f32(value);
        }
        replace_record(disk, EPOCH, EPOCH_KIND, out.as_bytes())
    }

    pub(super) fn read(disk: &dyn Disk) -> Result<Self, StorageError> {
        let path = disk.root().join(EPOCH);
        read_record(disk, EPOCH, EPOCH_KIND, |decoder| {
            check_version(decoder, &path)?;
            let store_id = decoder.u64()?;
            let at = decoder.offset();
            let sizes = [decoder.u32()?, decoder.u32()?, decoder.u32()?].map(|size| size as usize);
            let shape = SignShape::new(sizes[0], sizes[1], sizes[2])
                .map_err(|_| decoder.wrong(at, "dimensions of a space", sizes[0] as u64, 1))?;
            let at = decoder.offset();
            let normalize = match decoder.u8()? {
                0 => Normalize::None,
                1 => Normalize::L2,
                2 => Normalize::Count,
                other => return Err(decoder.wrong(at, "normalisation", u64::from(other), 2)),
            };
            let ttl = Some(decoder.u64()?).filter(|&ttl| ttl > 0);
            let embedding_version = decoder.str()?.to_owned();
            let at = decoder.offset();
            let values = super::history::decode_vector(decoder, shape.hashes() * shape.dim())?;
            let family = SignFamily::from_projections(shape, &values)
                .map_err(|_| decoder.wrong(at, "finite values", 0, 1))?;
            Ok(Self { store_id, family, normalize, ttl, embedding_version })
        })
    }
}

/// What is live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The number that the next file gets.
    pub(super) next_number: u64,
    /// Everything up to this record of the log is in the files.
    pub(super) lsn: u64,
    /// Numbers of the files of histories, oldest first.
    pub(super) histories: Vec<u64>,
    /// Numbers of the files of items.
    pub(super) items: Vec<u64>,
    /// How far each partition of each source was taken in.
    pub(super) marks: BTreeMap<(String, u32), u64>,
}

impl Manifest {
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.next_number).u64(self.lsn);
        for files in [&self.histories, &self.items] {
            out.u32(files.len() as u32);
            for &number in files.iter() {
                out.u64(number);
            }
        }
        out.u32(self.marks.len() as u32);
        for ((source, partition), offset) in &self.marks {
            out.str(source).u32(*partition).u64(*offset);
        }
        replace_record(disk, SPACE, SPACE_KIND, out.as_bytes())
    }

    pub(super) fn read(disk: &dyn Disk) -> Result<Self, StorageError> {
        let path = disk.root().join(SPACE);
        read_record(disk, SPACE, SPACE_KIND, |decoder| {
            check_version(decoder, &path)?;
            let (next_number, lsn) = (decoder.u64()?, decoder.u64()?);
            let (histories, items) = (numbers(decoder)?, numbers(decoder)?);
            let mut marks = BTreeMap::new();
            for _ in 0..decoder.u32()? {
                let key = (decoder.str()?.to_owned(), decoder.u32()?);
                marks.insert(key, decoder.u64()?);
            }
            Ok(Self { next_number, lsn, histories, items, marks })
        })
    }
}

fn numbers(decoder: &mut Decoder<'_>) -> Result<Vec<u64>, StorageError> {
    let at = decoder.offset();
    let count = decoder.u32()?;
    if count > FILES_MAX {
        return Err(decoder.wrong(at, "files of a space", u64::from(count), u64::from(FILES_MAX)));
    }
    (0..count).map(|_| decoder.u64()).collect()
}

fn check_version(decoder: &mut Decoder<'_>, path: &std::path::Path) -> Result<(), StorageError> {
    match decoder.u16()? {
        VERSION => Ok(()),
        found => Err(StorageError::Version { file: path.to_owned(), found, supported: VERSION }),
    }
}

/// The name of a file of histories.
pub(super) fn histories_name(number: u64) -> String {
    format!("histories.{number:06}")
}

/// The name of a file of items.
pub(super) fn items_name(number: u64) -> String {
    format!("items.{number:06}")
}

/// The number of a file of either kind.
pub(super) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("histories.").or(name.strip_prefix("items."))?.parse().ok()
}
