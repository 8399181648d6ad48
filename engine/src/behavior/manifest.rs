//! The small files of a space: what each of its epochs is, and what is live.

use std::collections::BTreeMap;
use std::path::Path;

use nearline_index::sdim::{Normalize, SignFamily, SignShape};
use nearline_storage::{Decoder, Disk, Encoder, StorageError, read_record, replace_record};

use super::TableValues;

/// What never changes of an epoch: hashing, normalisation, embeddings. Those after the first have a number behind the name.
pub(super) const EPOCH: &str = "EPOCH";
/// What is live.
pub(super) const SPACE: &str = "SPACE";
const EPOCH_KIND: [u8; 4] = *b"BEPO";
const SPACE_KIND: [u8; 4] = *b"BSPC";
/// Of the manifest; before there were epochs it was 2. Of an epoch: the first without numbers and kinds of values was 1.
const VERSION: u16 = 3;
const VERSION_ALONE: u16 = 2;
const EPOCH_VERSION: u16 = 2;
const EPOCH_VERSION_ALONE: u16 = 1;
/// Files of one kind at most: more than merging ever leaves.
const FILES_MAX: u32 = 1 << 10;
/// Epochs of a space at most, those included of which only the planes are left.
pub(super) const EPOCHS_MAX: usize = 16;
/// The number of the first epoch.
pub(super) const FIRST: u32 = 1;

/// How vectors are hashed and summed up, and which vectors.
#[derive(Clone, Debug)]
pub(crate) struct Epoch {
    pub(super) store_id: u64,
    pub(super) number: u32,
    /// The first epoch that counted by the same embeddings: signatures that are stored are by its planes.
    pub(super) of: u32,
    pub(super) family: SignFamily,
    pub(super) normalize: Normalize,
    pub(super) ttl: Option<u64>,
    pub(super) values: TableValues,
    pub(super) embedding_version: String,
}

/// The name of the file of an epoch.
pub(super) fn epoch_name(number: u32) -> String {
    if number == FIRST { EPOCH.to_owned() } else { format!("{EPOCH}.{number:06}") }
}

/// The number of the epoch that a file is of.
pub(super) fn epoch_of(name: &str) -> Option<u32> {
    name.strip_prefix(EPOCH)?.strip_prefix('.')?.parse().ok()
}

impl Epoch {
    /// Events before this time have expired when it is `now`.
    pub(super) fn cutoff(&self, now: i64) -> i64 {
        let ttl = self.ttl.map(|ttl| i64::try_from(ttl).unwrap_or(i64::MAX));
        // What happened `ttl` ago is gone.
        ttl.and_then(|ttl| now.checked_sub(ttl)).map_or(i64::MIN, |time| time.saturating_add(1))
    }

    /// Whether stored signatures are by its planes.
    pub(super) fn is_signer(&self) -> bool {
        self.number == self.of
    }

    pub(super) fn shape(&self) -> SignShape {
        self.family.shape()
    }

    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let shape = self.family.shape();
        let mut out = Encoder::new();
        out.u16(EPOCH_VERSION).u64(self.store_id).u32(self.number).u32(self.of);
        out.u8(match self.values {
            TableValues::F64 => 0,
            TableValues::F16 => 1,
        });
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
        replace_record(disk, &epoch_name(self.number), EPOCH_KIND, out.as_bytes())
    }

    pub(super) fn read(disk: &dyn Disk, number: u32) -> Result<Self, StorageError> {
        let name = epoch_name(number);
        let path = disk.root().join(&name);
        read_record(disk, &name, EPOCH_KIND, |decoder| {
            let epoch = Self::decode(decoder, &path)?;
            if epoch.number != number {
                return Err(decoder.wrong(
                    0,
                    "number of an epoch",
                    u64::from(epoch.number),
                    u64::from(number),
                ));
            }
            Ok(epoch)
        })
    }

    pub(super) fn decode(decoder: &mut Decoder<'_>, path: &Path) -> Result<Self, StorageError> {
        let version = check_version(decoder, path, &[EPOCH_VERSION_ALONE, EPOCH_VERSION])?;
        let store_id = decoder.u64()?;
        let (number, of, values) = match version {
            EPOCH_VERSION_ALONE => (FIRST, FIRST, TableValues::F64),
            _ => decode_numbers(decoder)?,
        };
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
        let planes = super::history::decode_vector(decoder, shape.hashes() * shape.dim())?;
        let family = SignFamily::from_projections(shape, &planes)
            .map_err(|_| decoder.wrong(at, "finite values", 0, 1))?;
        Ok(Self { store_id, number, of, family, normalize, ttl, values, embedding_version })
    }
}

fn decode_numbers(decoder: &mut Decoder<'_>) -> Result<(u32, u32, TableValues), StorageError> {
    let at = decoder.offset();
    let (number, of) = (decoder.u32()?, decoder.u32()?);
    if !(FIRST..=number).contains(&of) {
        return Err(decoder.wrong(at, "epoch whose embeddings are used", u64::from(of), u64::from(number)));
    }
    let at = decoder.offset();
    let values = match decoder.u8()? {
        0 => TableValues::F64,
        1 => TableValues::F16,
        other => return Err(decoder.wrong(at, "values of tables", u64::from(other), 1)),
    };
    Ok((number, of, values))
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

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Items get their vectors.
    Filling,
    /// Users before this one have their tables.
    Building { from: u64 },
    /// It answers unless another is asked for, and counts what comes.
    Serving,
    /// It answers when it is asked for.
    Kept,
    /// Its planes are there for the stored signatures of embeddings that a later one uses; nothing else of it.
    Gone,
}

/// What of an epoch is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) number: u32,
    pub(super) of: u32,
    pub(super) stage: Stage,
    /// Whether the one before it is kept when it serves.
    pub(super) keeps: bool,
    /// Numbers of its files of items, oldest first; of those that others use, too.
    pub(super) items: Vec<u64>,
    /// Numbers of its files of tables, oldest first.
    pub(super) tables: Vec<u64>,
}

impl Made {
    pub(super) fn new(number: u32, of: u32, stage: Stage, keeps: bool) -> Self {
        Self { number, of, stage, keeps, items: Vec::new(), tables: Vec::new() }
    }
}

/// What is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The number that the next file gets.
    pub(super) next_number: u64,
    /// The last record of the space that this one was restored from a snapshot of: its own are counted on from it.
    pub(super) base: u64,
    /// Everything up to this record of the log is in the files.
    pub(super) lsn: u64,
    /// Events in files that are of no more use.
    pub(super) dead: u64,
    /// Numbers of the files of histories, oldest first.
    pub(super) histories: Vec<u64>,
    /// The number that the next epoch gets.
    pub(super) next_epoch: u32,
    /// In order of their numbers. One of them serves.
    pub(super) epochs: Vec<Made>,
    /// How far each partition of each source was taken in.
    pub(super) marks: BTreeMap<(String, u32), u64>,
}

impl Manifest {
    /// That of an empty space of one epoch.
    pub(super) fn new() -> Self {
        Self {
            next_number: 1,
            base: 0,
            lsn: 0,
            dead: 0,
            histories: Vec::new(),
            next_epoch: FIRST + 1,
            epochs: vec![Made::new(FIRST, FIRST, Stage::Serving, false)],
            marks: BTreeMap::new(),
        }
    }

    /// The epoch of a number.
    pub(super) fn epoch(&self, number: u32) -> Option<&Made> {
        self.epochs.iter().find(|made| made.number == number)
    }

    pub(super) fn epoch_mut(&mut self, number: u32) -> Option<&mut Made> {
        self.epochs.iter_mut().find(|made| made.number == number)
    }

    /// The epoch that is filled or built.
    pub(super) fn next_one(&self) -> Option<&Made> {
        self.epochs.iter().find(|made| matches!(made.stage, Stage::Filling | Stage::Building { .. }))
    }

    /// Takes an epoch out. Its planes stay where stored signatures need them.
    pub(super) fn drop_epoch(&mut self, number: u32) {
        let is_used =
            |all: &[Made], of: u32| all.iter().any(|made| made.of == of && made.stage != Stage::Gone);
        if let Some(made) = self.epoch_mut(number) {
            (made.stage, made.tables) = (Stage::Gone, Vec::new());
        }
        let all = self.epochs.clone();
        self.epochs
            .retain(|made| made.stage != Stage::Gone || (made.number == made.of && is_used(&all, made.of)));
    }

    /// Numbers of all files of a kind.
    pub(super) fn numbers(&self, kind: Kind) -> Vec<u64> {
        match kind {
            Kind::Histories => self.histories.clone(),
            Kind::Items => self.epochs.iter().flat_map(|made| made.items.iter().copied()).collect(),
            Kind::Tables => self.epochs.iter().flat_map(|made| made.tables.iter().copied()).collect(),
        }
    }

    /// The files of a kind, of an epoch where there are some for each.
    pub(super) fn numbers_mut(&mut self, kind: Kind, epoch: u32) -> Option<&mut Vec<u64>> {
        match kind {
            Kind::Histories => Some(&mut self.histories),
            Kind::Items => self.epoch_mut(epoch).map(|made| &mut made.items),
            Kind::Tables => self.epoch_mut(epoch).map(|made| &mut made.tables),
        }
    }

    /// The names of all files but its own. What the space was first made for stays for good: it has the identity of the
    /// space, and tells how long the vectors of its first behaviours are.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let names = |kind: Kind| self.numbers(kind).into_iter().map(move |number| kind.name(number));
        let epochs = self.epochs.iter().map(|made| made.number).filter(|&number| number != FIRST);
        Kind::ALL.into_iter().flat_map(names).chain(std::iter::once(FIRST).chain(epochs).map(epoch_name))
    }

    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        replace_record(disk, SPACE, SPACE_KIND, &self.encode())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.next_number).u64(self.base).u64(self.lsn).u64(self.dead);
        encode_files(&mut out, &self.histories);
        out.u32(self.next_epoch).u32(self.epochs.len() as u32);
        for made in &self.epochs {
            let (stage, from) = match made.stage {
                Stage::Filling => (0, 0),
                Stage::Building { from } => (1, from),
                Stage::Serving => (2, 0),
                Stage::Kept => (3, 0),
                Stage::Gone => (4, 0),
            };
            out.u32(made.number).u32(made.of).u8(stage).u64(from).u8(u8::from(made.keeps));
            encode_files(&mut out, &made.items);
            encode_files(&mut out, &made.tables);
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
        let version = check_version(decoder, path, &[VERSION_ALONE, VERSION])?;
        let mut manifest = Self::new();
        (manifest.next_number, manifest.base) = (decoder.u64()?, decoder.u64()?);
        (manifest.lsn, manifest.dead) = (decoder.u64()?, decoder.u64()?);
        manifest.histories = numbers(decoder)?;
        if version == VERSION_ALONE {
            (manifest.epochs[0].items, manifest.epochs[0].tables) = (numbers(decoder)?, numbers(decoder)?);
        } else {
            manifest.next_epoch = decoder.u32()?;
            manifest.epochs = decode_epochs(decoder, manifest.next_epoch)?;
        }
        for _ in 0..decoder.u32()? {
            let key = (decoder.str()?.to_owned(), decoder.u32()?);
            manifest.marks.insert(key, decoder.u64()?);
        }
        Ok(manifest)
    }
}

fn encode_files(out: &mut Encoder, files: &[u64]) {
    out.u32(files.len() as u32);
    files.iter().for_each(|&number| {
        out.u64(number);
    });
}

fn decode_epochs(decoder: &mut Decoder<'_>, next: u32) -> Result<Vec<Made>, StorageError> {
    let at = decoder.offset();
    let count = decoder.u32()? as usize;
    let mut epochs = Vec::with_capacity(count.min(EPOCHS_MAX));
    for _ in 0..count {
        let made = decode_made(decoder)?;
        let last = epochs.last().map_or(0, |made: &Made| made.number);
        if made.number <= last || made.number >= next {
            return Err(decoder.wrong(at, "number of an epoch", u64::from(made.number), u64::from(next)));
        }
        epochs.push(made);
    }
    let serving = epochs.iter().filter(|made| made.stage == Stage::Serving).count();
    let next_ones =
        epochs.iter().filter(|made| matches!(made.stage, Stage::Filling | Stage::Building { .. }));
    let has_signer = |made: &Made| epochs.iter().any(|other| other.number == made.of && other.of == made.of);
    if serving != 1 || next_ones.count() > 1 || count > EPOCHS_MAX || !epochs.iter().all(has_signer) {
        return Err(decoder.wrong(at, "epochs that serve", serving as u64, 1));
    }
    Ok(epochs)
}

fn decode_made(decoder: &mut Decoder<'_>) -> Result<Made, StorageError> {
    let (number, of) = (decoder.u32()?, decoder.u32()?);
    let at = decoder.offset();
    let (stage, from) = (decoder.u8()?, decoder.u64()?);
    let stage = match stage {
        0 => Stage::Filling,
        1 => Stage::Building { from },
        2 => Stage::Serving,
        3 => Stage::Kept,
        4 => Stage::Gone,
        other => return Err(decoder.wrong(at, "stage of an epoch", u64::from(other), 4)),
    };
    let keeps = decoder.u8()? != 0;
    let (items, tables) = (numbers(decoder)?, numbers(decoder)?);
    Ok(Made { number, of, stage, keeps, items, tables })
}

fn numbers(decoder: &mut Decoder<'_>) -> Result<Vec<u64>, StorageError> {
    let at = decoder.offset();
    let count = decoder.u32()?;
    if count > FILES_MAX {
        return Err(decoder.wrong(at, "files of a space", u64::from(count), u64::from(FILES_MAX)));
    }
    (0..count).map(|_| decoder.u64()).collect()
}

/// Takes a version, which is one of those supported, the newest last.
fn check_version(decoder: &mut Decoder<'_>, path: &Path, supported: &[u16]) -> Result<u16, StorageError> {
    let (found, newest) = (decoder.u16()?, supported.last().copied().unwrap_or(0));
    if supported.contains(&found) {
        return Ok(found);
    }
    Err(StorageError::Version { file: path.to_owned(), found, supported: newest })
}
