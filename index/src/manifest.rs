//! The manifest: the one file that makes a folder an index, and the names of all others.

use nearline_storage::{Decoder, Disk, Encoder, StorageError, read_record, replace_record};

use crate::build::STATE;
use crate::error::{IndexError, Result};
use crate::metric::Metric;
use crate::posting::{Codec, ListLayout};
use crate::space::dim_of;
use crate::vector::{DIM_MAX, ElementType, Shape};

/// The manifest's name.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// The lock's name; it belongs to no index.
pub(crate) const LOCK: &str = "LOCK";

const KIND: [u8; 4] = *b"MANI";
/// In the codec's byte: the slots of entries stand for their rows.
const BY_SLOT: u8 = 0x80;

/// The files an index is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileRole {
    /// Posting lists.
    Postings,
    /// The routing space and the centroids.
    Centroids,
    /// Where each posting list lies.
    Directory,
    /// Settings that reach each recall.
    Calibration,
    /// Point ids, if they are not row numbers.
    Ids,
    /// Raw vectors, to rerank with.
    Rows,
}

impl FileRole {
    pub(crate) const ALL: [Self; 6] =
        [Self::Postings, Self::Centroids, Self::Directory, Self::Calibration, Self::Ids, Self::Rows];

    fn code(self) -> u8 {
        match self {
            Self::Postings => 0,
            Self::Centroids => 1,
            Self::Directory => 2,
            Self::Calibration => 3,
            Self::Ids => 4,
            Self::Rows => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }

    fn stem(self) -> &'static str {
        match self {
            Self::Postings => "postings",
            Self::Centroids => "centroids",
            Self::Directory => "directory",
            Self::Calibration => "calibration",
            Self::Ids => "ids",
            Self::Rows => "rows",
        }
    }

    /// What the file's header says it holds.
    pub(crate) fn kind(self) -> [u8; 4] {
        match self {
            Self::Postings => *b"POST",
            Self::Centroids => *b"CENT",
            Self::Directory => *b"DIRE",
            Self::Calibration => *b"CALI",
            Self::Ids => *b"IDS ",
            Self::Rows => *b"ROWF",
        }
    }

    /// The file's name in a generation of the index.
    pub(crate) fn name(self, generation: u64) -> String {
        format!("{}.{generation:06}", self.stem())
    }

    /// Whether some generation of an index has a file of this name.
    pub(crate) fn is_name(name: &str) -> bool {
        Self::generation_of(name).is_some()
    }

    /// The generation that a file of this name belongs to.
    pub(crate) fn generation_of(name: &str) -> Option<u64> {
        let (stem, generation) = name.split_once('.')?;
        let known = Self::ALL.iter().any(|role| role.stem() == stem);
        let digits = generation.len() >= 6 && generation.bytes().all(|byte| byte.is_ascii_digit());
        if known && digits { generation.parse().ok() } else { None }
    }
}

/// A file as the manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFile {
    pub(crate) role: FileRole,
    pub(crate) name: String,
    pub(crate) file_id: u64,
    pub(crate) bytes: u64,
}

/// What a finished index is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    /// Counts the indexes that were built into the folder.
    pub(crate) generation: u64,
    pub(crate) shape: Shape,
    pub(crate) metric: Metric,
    pub(crate) codec: Codec,
    /// Whether the slots of entries stand for their rows, whatever the entries say of those.
    pub(crate) by_slot: bool,
    pub(crate) replicas: u32,
    pub(crate) seed: u64,
    pub(crate) rows: u64,
    pub(crate) lists: u64,
    pub(crate) nodes: u64,
    pub(crate) entries: u64,
    /// Entries of the longest list.
    pub(crate) list_entries_max: u32,
    /// Bytes of the longest list's extent.
    pub(crate) list_bytes_max: u32,
    /// Σc²/Σc over the lists' entries.
    pub(crate) list_entries_weighted: f64,
    /// The largest norm of the data, for inner products.
    pub(crate) norm_max: f64,
    pub(crate) files: Vec<ListedFile>,
}

impl Manifest {
    /// The file of a role.
    pub(crate) fn file(&self, role: FileRole) -> Option<&ListedFile> {
        self.files.iter().find(|file| file.role == role)
    }

    /// The layout of posting lists.
    pub(crate) fn list_layout(&self) -> ListLayout {
        let (codec, shape, dim) = (self.codec, self.shape, dim_of(self.metric, self.shape));
        ListLayout { codec, shape, dim, by_slot: self.by_slot }
    }

    /// Replaces the folder's manifest, durably and at once.
    pub(crate) fn publish(&self, disk: &dyn Disk) -> Result<()> {
        let mut body = Encoder::new();
        self.encode(&mut body);
        Ok(replace_record(disk, MANIFEST, KIND, body.as_bytes())?)
    }

    /// Reads the folder's manifest.
    ///
    /// # Errors
    /// [`IndexError::NotAnIndex`] when there is none.
    pub(crate) fn read(disk: &dyn Disk) -> Result<Self> {
        let names = disk.list()?;
        if !names.iter().any(|name| name == MANIFEST) {
            let found = if names.iter().any(|name| name == STATE) {
                "an unfinished build (nearline build --resume finishes it)".to_owned()
            } else {
                format!("no file {MANIFEST}")
            };
            return Err(IndexError::NotAnIndex { dir: disk.root().to_owned(), found });
        }
        Ok(read_record(disk, MANIFEST, KIND, Self::decode_body)?)
    }

    fn encode(&self, out: &mut Encoder) {
        out.u64(self.generation).u8(self.shape.element.code()).u32(self.shape.dim as u32);
        let codec = self.codec.code() | if self.by_slot { BY_SLOT } else { 0 };
        out.u8(self.metric.code()).u8(codec).u32(self.replicas).u64(self.seed);
        out.u64(self.rows).u64(self.lists).u64(self.nodes).u64(self.entries);
        out.u32(self.list_entries_max).u32(self.list_bytes_max);
        out.f64(self.list_entries_weighted).f64(self.norm_max);
        out.u32(self.files.len() as u32);
        for file in &self.files {
            out.u8(file.role.code()).str(&file.name).u64(file.file_id).u64(file.bytes);
        }
    }

    fn decode_body(body: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let generation = body.u64()?;
        let element = known(body, "element type", ElementType::from_code)?;
        let dim = body.u32()? as usize;
        if dim == 0 || dim > DIM_MAX {
            return Err(body.wrong(body.offset(), "dimensions", dim as u64, DIM_MAX as u64));
        }
        let metric = known(body, "metric", Metric::from_code)?;
        let (codec, by_slot) = known(body, "codec", numbered_codec)?;
        let mut manifest = Self {
            generation,
            shape: Shape { element, dim },
            metric,
            codec,
            by_slot,
            replicas: body.u32()?,
            seed: body.u64()?,
            rows: body.u64()?,
            lists: body.u64()?,
            nodes: body.u64()?,
            entries: body.u64()?,
            list_entries_max: body.u32()?,
            list_bytes_max: body.u32()?,
            list_entries_weighted: body.f64()?,
            norm_max: body.f64()?,
            files: Vec::new(),
        };
        manifest.check_counts(body)?;
        for _ in 0..body.u32()? {
            manifest.files.push(ListedFile {
                role: known(body, "file role", FileRole::from_code)?,
                name: plain_name(body)?,
                file_id: body.u64()?,
                bytes: body.u64()?,
            });
        }
        Ok(manifest)
    }

    /// Refuses counts no build can have written: they size what an open index holds.
    fn check_counts(&self, body: &Decoder<'_>) -> Result<(), StorageError> {
        let most = u64::from(u32::MAX);
        let counts = [
            ("number of vectors", self.rows, most),
            ("number of lists", self.lists, most),
            ("number of nodes", self.nodes, self.lists),
            ("copies of a vector", u64::from(self.replicas), most),
        ];
        match counts.into_iter().find(|(_, found, most)| !(1..=*most).contains(found)) {
            Some((what, found, most)) => Err(body.wrong(body.offset(), what, found, found.clamp(1, most))),
            None => Ok(()),
        }
    }
}

/// The codec, and whether the slots of entries stand for their rows: those of raw lists are not all known.
fn numbered_codec(code: u8) -> Option<(Codec, bool)> {
    let (codec, by_slot) = (Codec::from_code(code & !BY_SLOT)?, code & BY_SLOT != 0);
    (codec != Codec::Raw || !by_slot).then_some((codec, by_slot))
}

/// A file's name, fit to be shown in one line.
fn plain_name(body: &mut Decoder<'_>) -> Result<String, StorageError> {
    let offset = body.offset();
    let name = body.str()?;
    let plain = name.bytes().take_while(u8::is_ascii_graphic).count();
    if plain < name.len() {
        let what = "number of leading printable bytes of a name";
        return Err(body.wrong(offset, what, plain as u64, name.len() as u64));
    }
    Ok(name.to_owned())
}

/// A byte that must be the code of something known.
fn known<T>(
    body: &mut Decoder<'_>,
    what: &'static str,
    from_code: fn(u8) -> Option<T>,
) -> Result<T, StorageError> {
    let offset = body.offset();
    let code = body.u8()?;
    from_code(code).ok_or_else(|| body.wrong(offset, what, u64::from(code), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(rows: u64, lists: u64, nodes: u64, replicas: u32) -> Result<Manifest, StorageError> {
        let manifest = Manifest {
            generation: 1,
            shape: Shape { element: ElementType::F32, dim: 4 },
            metric: Metric::L2,
            codec: Codec::Raw,
            by_slot: false,
            replicas,
            seed: 1,
            rows,
            lists,
            nodes,
            entries: rows,
            list_entries_max: 8,
            list_bytes_max: 4096,
            list_entries_weighted: 8.0,
            norm_max: 0.0,
            files: Vec::new(),
        };
        let mut body = Encoder::new();
        manifest.encode(&mut body);
        Manifest::decode_body(&mut Decoder::new(body.as_bytes(), "MANIFEST".as_ref(), 0))
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        assert!(decode(10, 3, 2, 4).is_ok());
        let (most, over) = (u64::from(u32::MAX), 1 << 32);
        assert!(decode(most, most, most, 1).is_ok());
        for (rows, lists, nodes, replicas) in [
            (0, 3, 2, 4),
            (over, 3, 2, 4),
            (10, 0, 0, 4),
            (10, over, 2, 4),
            (10, u64::MAX, 2, 4),
            (10, 3, 0, 4),
            (10, 3, 4, 4),
            (10, 3, 2, 0),
        ] {
            let refused = decode(rows, lists, nodes, replicas);
            assert!(matches!(refused, Err(StorageError::Corrupt { .. })), "{refused:?}");
        }
    }

    #[test]
    fn names_that_no_message_can_show_are_refused() {
        for (name, good) in [("postings.000001", true), ("a\nb", false), ("a b", false), ("\u{e9}", false)] {
            let mut body = Encoder::new();
            body.str(name);
            let found = plain_name(&mut Decoder::new(body.as_bytes(), "MANIFEST".as_ref(), 0));
            assert_eq!(found.is_ok(), good, "{name:?}");
        }
    }
}
