//! The manifest of a collection: the one file that decides what is live.

use std::path::Path;

use nearline_index::RowId;
use nearline_storage::{
    Decoder, Disk, Encoder, ExtentFile, ExtentFileWriter, FileHeader, PAGE, ReadRange, StorageError,
    read_blob, read_record, replace_record, write_blob,
};
use roaring::RoaringBitmap;

use crate::field::{FIELD_INDEXES_MAX, FieldIndexInfo};
use crate::questions::QuestionsInfo;
use crate::schema::Schema;
use crate::segment::SegmentInfo;
use crate::vector_index::VectorIndexInfo;

/// The manifest's name.
pub(crate) const MANIFEST: &str = "COLLECTION";
const KIND: [u8; 4] = *b"CMAN";
/// The kind of manifests of version 1, which had no version in them.
const KIND_1: [u8; 4] = *b"COLL";
const DEAD_KIND: [u8; 4] = *b"DEAD";
const BITMAP_EXTENT_KIND: u16 = 31;
/// The version of what follows in a manifest, and the oldest that is read, too: its vector indexes kept vectors of their own.
/// They are passed over, and built anew. Version 4 knew no segments made of an index, version 5 no questions, and one factor for
/// all recalls.
const VERSION: u16 = 6;
const OLDEST: u16 = 3;
/// Segments at most: more than merging ever leaves.
const SEGMENTS_MAX: usize = 1 << 16;

/// What a collection is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Manifest {
    /// Tells the files of this collection from those of all others.
    pub(crate) store_id: u64,
    pub(crate) schema: Schema,
    /// The number that the next segment or file of tombstones gets.
    pub(crate) next_number: u64,
    /// The row that the next point gets, as far as the log was flushed.
    pub(crate) next_row: RowId,
    /// Everything up to this record of the log is in the segments.
    pub(crate) flushed_lsn: u64,
    /// Points that were not dead then.
    pub(crate) live: u64,
    /// The number of the file of tombstones of then, if there were any.
    pub(crate) dead: Option<u64>,
    pub(crate) segments: Vec<SegmentInfo>,
    /// Field indexes, in the order in which they were created.
    pub(crate) fields: Vec<FieldIndexInfo>,
    /// Vector indexes, at most one for each name of vectors.
    pub(crate) indexes: Vec<VectorIndexInfo>,
    /// Questions that are kept, at most one file of them for each name of vectors.
    pub(crate) questions: Vec<QuestionsInfo>,
}

impl Manifest {
    /// The names of all files it needs, itself and the log left out.
    pub(crate) fn files(&self) -> Vec<String> {
        let segments = self.segments.iter().flat_map(SegmentInfo::files);
        let indexes = self.indexes.iter().flat_map(VectorIndexInfo::files);
        let questions = self.questions.iter().map(QuestionsInfo::file);
        segments.chain(self.dead.map(dead_name)).chain(indexes).chain(questions).collect()
    }

    /// The name of a file of tombstones.
    pub(crate) fn dead_file(number: u64) -> String {
        dead_name(number)
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut out = Encoder::new();
        out.u16(VERSION).u64(self.store_id).u64(self.next_number).u32(self.next_row.0).u64(self.flushed_lsn);
        out.u64(self.live).u64(self.dead.unwrap_or(0));
        self.schema.encode(&mut out);
        out.u32(self.fields.len() as u32);
        self.fields.iter().for_each(|field| field.encode(&mut out));
        out.u32(self.segments.len() as u32);
        self.segments.iter().for_each(|segment| segment.encode(&mut out));
        out.u32(self.indexes.len() as u32);
        self.indexes.iter().for_each(|index| index.encode(&mut out));
        out.u32(self.questions.len() as u32);
        self.questions.iter().for_each(|questions| questions.encode(&mut out));
        replace_record(disk, MANIFEST, KIND, out.as_bytes())
    }

    pub(crate) fn read(disk: &dyn Disk) -> Result<Self, StorageError> {
        let path = disk.root().join(MANIFEST);
        read_record(disk, MANIFEST, KIND, |decoder| Self::decode(decoder, &path)).map_err(|error| {
            let is_old =
                read_record(disk, MANIFEST, KIND_1, |old| old.raw(old.remaining()).map(drop)).is_ok();
            if is_old {
                StorageError::Version { file: path.clone(), found: 1, supported: VERSION }
            } else {
                error
            }
        })
    }

    fn decode(decoder: &mut Decoder<'_>, path: &Path) -> Result<Self, StorageError> {
        let found = decoder.u16()?;
        if !(OLDEST..=VERSION).contains(&found) {
            return Err(StorageError::Version { file: path.to_owned(), found, supported: VERSION });
        }
        let (store_id, next_number) = (decoder.u64()?, decoder.u64()?);
        let (next_row, flushed_lsn) = (RowId(decoder.u32()?), decoder.u64()?);
        let (live, dead) = (decoder.u64()?, decoder.u64()?);
        let dead = Some(dead).filter(|&number| number != 0);
        let schema = Schema::decode(decoder)?;
        let fields = decode_fields(decoder)?;
        let at = decoder.offset();
        let count = decoder.u32()? as usize;
        if count > SEGMENTS_MAX {
            return Err(decoder.wrong(at, "segments of a collection", count as u64, SEGMENTS_MAX as u64));
        }
        let segment = |_| SegmentInfo::decode(decoder, &schema, found == OLDEST);
        let segments = (0..count).map(segment).collect::<Result<_, _>>()?;
        let indexes = decode_indexes(decoder, &schema, found)?;
        let questions = if found < 6 { Vec::new() } else { decode_questions(decoder, &schema)? };
        Ok(Self {
            store_id,
            schema,
            next_number,
            next_row,
            flushed_lsn,
            live,
            dead,
            segments,
            fields,
            indexes,
            questions,
        })
    }
}

fn decode_fields(decoder: &mut Decoder<'_>) -> Result<Vec<FieldIndexInfo>, StorageError> {
    let at = decoder.offset();
    let count = decoder.u32()? as usize;
    if count > FIELD_INDEXES_MAX {
        return Err(decoder.wrong(
            at,
            "field indexes of a collection",
            count as u64,
            FIELD_INDEXES_MAX as u64,
        ));
    }
    (0..count).map(|_| FieldIndexInfo::decode(decoder)).collect()
}

fn decode_indexes(
    decoder: &mut Decoder<'_>,
    schema: &Schema,
    version: u16,
) -> Result<Vec<VectorIndexInfo>, StorageError> {
    let at = decoder.offset();
    let count = decoder.u32()? as usize;
    if count > schema.len() {
        return Err(decoder.wrong(at, "vector indexes of a collection", count as u64, schema.len() as u64));
    }
    if version == OLDEST {
        (0..count).try_for_each(|_| VectorIndexInfo::skip_3(decoder))?;
        return Ok(Vec::new());
    }
    (0..count).map(|_| VectorIndexInfo::decode(decoder, schema.len(), version)).collect()
}

fn decode_questions(decoder: &mut Decoder<'_>, schema: &Schema) -> Result<Vec<QuestionsInfo>, StorageError> {
    let at = decoder.offset();
    let count = decoder.u32()? as usize;
    if count > schema.len() {
        return Err(decoder.wrong(at, "names of vectors with questions", count as u64, schema.len() as u64));
    }
    let mut questions: Vec<QuestionsInfo> = Vec::with_capacity(count);
    for _ in 0..count {
        let place = decoder.offset();
        let info = QuestionsInfo::decode(decoder, schema.len())?;
        if questions.iter().any(|known| known.at == info.at) {
            return Err(decoder.wrong(place, "second file of questions for vectors", info.at as u64, 0));
        }
        questions.push(info);
    }
    Ok(questions)
}

fn dead_name(number: u64) -> String {
    format!("dead.{number:06}")
}

/// Whether a file of tombstones may have this name.
pub(crate) fn is_dead_file(name: &str) -> bool {
    name.starts_with("dead.")
}

/// Writes the rows that are dead into a file of their own.
pub(crate) fn write_dead(
    disk: &dyn Disk,
    store_id: u64,
    number: u64,
    dead: &RoaringBitmap,
) -> Result<(), StorageError> {
    write_bitmap(disk, &dead_name(number), DEAD_KIND, store_id ^ number, dead)
}

/// Reads the rows that are dead.
pub(crate) fn read_dead(disk: &dyn Disk, store_id: u64, number: u64) -> Result<RoaringBitmap, StorageError> {
    read_bitmap(disk, &dead_name(number), DEAD_KIND, store_id ^ number)
}

/// Writes rows into a file of their own.
pub(crate) fn write_bitmap(
    disk: &dyn Disk,
    name: &str,
    kind: [u8; 4],
    file_id: u64,
    rows: &RoaringBitmap,
) -> Result<(), StorageError> {
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    // Writing into memory does not fail.
    let written = rows.serialize_into(&mut bytes);
    debug_assert!(written.is_ok());
    write_section(disk, name, FileHeader { kind, file_id }, BITMAP_EXTENT_KIND, &bytes).map(drop)
}

/// Reads rows out of a file of their own.
pub(crate) fn read_bitmap(
    disk: &dyn Disk,
    name: &str,
    kind: [u8; 4],
    file_id: u64,
) -> Result<RoaringBitmap, StorageError> {
    read_section(disk, name, FileHeader { kind, file_id }, BITMAP_EXTENT_KIND, |bytes, path| {
        RoaringBitmap::deserialize_from(bytes)
            .map_err(|_| StorageError::corrupt(path, PAGE as u64, "bitmap of rows", bytes.len() as u64, 0))
    })
}

/// Writes a file that is one section and makes its bytes survive a crash. Says how long the file is.
pub(crate) fn write_section(
    disk: &dyn Disk,
    name: &str,
    header: FileHeader,
    extent_kind: u16,
    bytes: &[u8],
) -> Result<u64, StorageError> {
    let mut writer = ExtentFileWriter::create(disk, name, header)?;
    let range = write_blob(&mut writer, extent_kind, bytes)?;
    writer.sync()?;
    Ok(range.end())
}

/// Reads a file that is one section; `decode` is given its bytes, and the path for errors.
pub(crate) fn read_section<T>(
    disk: &dyn Disk,
    name: &str,
    header: FileHeader,
    extent_kind: u16,
    decode: impl FnOnce(&[u8], &Path) -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let file = ExtentFile::open(disk, name, header.kind)?;
    let path = file.file().path();
    if file.file_id() != header.file_id {
        return Err(StorageError::corrupt(path, 0, "identity of the file", file.file_id(), header.file_id));
    }
    let range = ReadRange { offset: PAGE as u64, bytes: file.len().saturating_sub(PAGE as u64) as usize };
    decode(&read_blob(&file, extent_kind, range)?, path)
}

#[cfg(test)]
mod tests {
    use nearline_storage::SimDisk;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_other_versions_are_named() {
        let fields = vec![FieldIndexInfo {
            number: 3,
            path: "a.b".parse().unwrap(),
            field_type: crate::FieldType::Bool,
        }];
        let manifest = Manifest {
            store_id: 7,
            schema: Schema::single(2, nearline_index::Metric::L2),
            next_number: 4,
            next_row: RowId(5),
            flushed_lsn: 6,
            live: 1,
            dead: None,
            segments: Vec::new(),
            fields,
            indexes: Vec::new(),
            questions: vec![QuestionsInfo { number: 2, at: 0, count: 60, k: 10, bytes: 8_192 }],
        };
        let disk = SimDisk::new(0);
        manifest.write(&disk).unwrap();
        assert_eq!(Manifest::read(&disk).unwrap(), manifest);
        let error = |kind, body: &[u8]| {
            replace_record(&disk, MANIFEST, kind, body).unwrap();
            Manifest::read(&disk).unwrap_err()
        };
        for (error, version) in [(error(KIND_1, &[9; 60]), 1), (error(KIND, &[99, 0, 9]), 99)] {
            let named = matches!(&error, StorageError::Version { found, supported: VERSION, .. } if *found == version);
            assert!(named, "{error}");
        }
        assert!(matches!(error(*b"DEAD", &[]), StorageError::Corrupt { .. }));
    }
}
