//! The two small files of a space: what it is, and what of it is live.

use std::collections::BTreeMap;
use std::path::Path;

use nearline_index::sdim::{Normalize, SignFamily, SignShape};
use nearline_storage::{Decoder, Disk, Encoder, StorageError, read_record, replace_record};

/// What never changes: hashing, normalisation, embeddings.
pub(super) const EPOCH: &str = "EPOCH";
/// What is live.
pub(super) const SPACE: &str = "SPACE";
const EPOCH_KIND: [u8; 4] = *b"BEPO";
const SPACE_KIND: [u8; 4] = *b"BSPC";
/// Of the manifest; and of what the space is made for, which is as it was.
const VERSION: u16 = 2;
const EPOCH_VERSION: u16 = 1;
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
    /// Events before this time have expired when it is `now`.
    pub(super) fn cutoff(&self, now: i64) -> i64 {
        let ttl = self.ttl.map(|ttl| i64::try_from(ttl).unwrap_or(i64::MAX));
        // What happened `ttl` ago is gone.
        ttl.and_then(|ttl| now.checked_sub(ttl)).map_or(i64::MIN, |time| time.saturating_add(1))
    }

    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let shape = self.family.shape();
        let mut out = Encoder::new();
        out.u16(EPOCH_VERSION).u64(self.store_id);
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
        read_record(disk, EPOCH, EPOCH_KIND, |decoder| Self::decode(decoder, &path))
    }

    pub(super) fn decode(decoder: &mut Decoder<'_>, path: &Path) -> Result<Self, StorageError> {
        check_version(decoder, path, EPOCH_VERSION)?;
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
    }
}

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Histories,
    Items,
    Tables,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Histories, Self::Items, Self::Tables];

    pub(super) fn mark(self) -> [u8; 4] {
        match self {
            Self::Histories => *b"BHIS",
            Self::Items => *b"BITM",
            Self::Tables => *b"BTAB",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Histories => "histories.",
            Self::Items => "items.",
            Self::Tables => "tables.",
        }
    }

    /// The name of a file.
    pub(super) fn name(self, number: u64) -> String {
        format!("{}{number:06}", self.prefix())
    }
}

/// The number of a file of any kind.
pub(super) fn number_of(name: &str) -> Option<u64> {
    Kind::ALL.into_iter().find_map(|kind| name.strip_prefix(kind.prefix()))?.parse().ok()
}

/// What is live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The number that the next file gets.
    pub(super) next_number: u64,
    /// The last record of the space that this one was restored from a snapshot of: its own are counted on from it.
    pub(super) base: u64,
    /// Everything up to this record of the log is in the files.
    pub(super) lsn: u64,
    /// Events in files that are of no more use.
    pub(super) dead: u64,
    /// Numbers of the files of each kind, oldest first.
    pub(super) files: [Vec<u64>; 3],
    /// How far each partition of each source was taken in.
    pub(super) marks: BTreeMap<(String, u32), u64>,
}

impl Manifest {
    pub(super) fn numbers(&self, kind: Kind) -> &[u64] {
        &self.files[kind as usize]
    }

    /// The names of all files.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let names = |kind: Kind| self.numbers(kind).iter().map(move |&number| kind.name(number));
        Kind::ALL.into_iter().flat_map(names)
    }

    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        replace_record(disk, SPACE, SPACE_KIND, &self.encode())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.next_number).u64(self.base).u64(self.lsn).u64(self.dead);
        for files in &self.files {
            out.u32(files.len() as u32);
            for &number in files {
                out.u64(number);
            }
        }
        out.u32(self.marks.len() as u32);
        for ((source, partition), offset) in &self.marks {
            out.str(source).u32(*partition).u64(*offset);
        }
        out.into_bytes()
    }

    pub(super) fn read(disk: &dyn Disk) -> Result<Self, StorageError> {
        let path = disk.root().join(SPACE);
        read_record(disk, SPACE, SPACE_KIND, |decoder| Self::decode(decoder, &path))
    }

    pub(super) fn decode(decoder: &mut Decoder<'_>, path: &Path) -> Result<Self, StorageError> {
        check_version(decoder, path, VERSION)?;
        let (next_number, base) = (decoder.u64()?, decoder.u64()?);
        let (lsn, dead) = (decoder.u64()?, decoder.u64()?);
        let files = [numbers(decoder)?, numbers(decoder)?, numbers(decoder)?];
        let mut marks = BTreeMap::new();
        for _ in 0..decoder.u32()? {
            let key = (decoder.str()?.to_owned(), decoder.u32()?);
            marks.insert(key, decoder.u64()?);
        }
        Ok(Self { next_number, base, lsn, dead, files, marks })
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

fn check_version(decoder: &mut Decoder<'_>, path: &Path, supported: u16) -> Result<(), StorageError> {
    match decoder.u16()? {
        found if found == supported => Ok(()),
        found => Err(StorageError::Version { file: path.to_owned(), found, supported }),
    }
}
