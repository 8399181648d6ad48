//! A segment: the points of some rows in immutable files, written by a flush or a merge.
//!
//! `points.N` has each point's id and payload by row, `ids.N` the row by id, `vectors.N.V` the vectors of the schema's
//! V-th name by row, `rows.N.V` the rows that have one, if not all have, `field.F` the rows of the keys of a field index,
//! `codes.N.V` codes of the vectors.
//! Points that died later are still in it; the collection's tombstones tell.

mod codes;
mod rows;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use nearline_index::{Flat, FlatWalk, FlatWriter, RowCodes, RowId};
use nearline_storage::{
    BlockCache, Decoder, Disk, Encoder, FileHeader, PAGE, StorageError, Table, TableIter, TableOptions,
    TableWriter,
};
use roaring::RoaringBitmap;

use crate::error::OpenError;
use crate::field::{FIELD_INDEXES_MAX, FieldFile, FieldFileInfo, FieldWriter, field_name, is_field_file};
use crate::point_id::PointId;
use crate::record::{Stored, Vectors, decode_document, encode_document, row_key, row_of};
use crate::schema::Schema;
use crate::value::Payload;
pub(crate) use codes::{codes_files, codes_number};
use rows::{open_vectors, rows_name, vectors_id, verify_vectors, write_rows};

const POINTS_KIND: [u8; 4] = *b"PNTS";
/// In the place of whether there are files of rows: vectors came with an index.
const BY_SLOT: u8 = 2;
const IDS_KIND: [u8; 4] = *b"PIDS";
/// Payloads are larger than rows and ids: more of them fit a block.
const POINTS_BLOCK_BYTES: usize = 16_384;

/// What the manifest knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    /// The N of its files.
    pub(crate) number: u64,
    /// Points in it.
    pub(crate) points: u64,
    /// The lowest and the highest row.
    pub(crate) first: RowId,
    pub(crate) last: RowId,
    /// Vectors of each name; files are there where there are any.
    pub(crate) vectors: Vec<u64>,
    /// Bytes of all files but those of field indexes.
    pub(crate) bytes: u64,
    /// Whether there are files of rows where vectors have gaps: there were none before.
    pub(crate) lists_rows: bool,
    /// The identity of the file of vectors, where that came with an index that was taken over: slots are rows in it.
    pub(crate) by_slot: Option<u64>,
    /// Files of field indexes, at most one for each.
    pub(crate) fields: Vec<FieldFileInfo>,
}

impl SegmentInfo {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.number).u64(self.points).u32(self.first.0).u32(self.last.0).u64(self.bytes);
        match self.by_slot {
            None => out.u8(self.lists_rows.into()),
            Some(file_id) => out.u8(BY_SLOT).u64(file_id),
        };
        self.vectors.iter().for_each(|&count| {
            out.u64(count);
        });
        out.u32(self.fields.len() as u32);
        self.fields.iter().for_each(|file| file.encode(out));
    }

    /// Takes one out of a manifest; an old one has only segments from before there were files of rows.
    pub(crate) fn decode(
        decoder: &mut Decoder<'_>,
        schema: &Schema,
        is_old: bool,
    ) -> Result<Self, StorageError> {
        let (number, points) = (decoder.u64()?, decoder.u64()?);
        let at = decoder.offset();
        let (first, last) = (RowId(decoder.u32()?), RowId(decoder.u32()?));
        if last < first || points > u64::from(last.0 - first.0) + 1 {
            return Err(decoder.wrong(at, "last row of a segment", last.0.into(), first.0.into()));
        }
        let bytes = decoder.u64()?;
        let at = decoder.offset();
        let lists_rows = if is_old { 0 } else { decoder.u8()? };
        if lists_rows > BY_SLOT {
            return Err(decoder.wrong(at, "whether there are files of rows", lists_rows.into(), 1));
        }
        let by_slot = if lists_rows == BY_SLOT { Some(decoder.u64()?) } else { None };
        let at = decoder.offset();
        let vectors = (0..schema.len()).map(|_| decoder.u64()).collect::<Result<Vec<_>, _>>()?;
        // The vectors that came with an index are all there, those of dead points among them.
        let most = if by_slot.is_some() { u64::from(last.0 - first.0) + 1 } else { points };
        if let Some(&count) = vectors.iter().find(|&&count| count > most) {
            return Err(decoder.wrong(at, "vectors of a segment", count, most));
        }
        let at = decoder.offset();
        let count = decoder.u32()? as usize;
        if count > FIELD_INDEXES_MAX {
            return Err(decoder.wrong(
                at,
                "field files of a segment",
                count as u64,
                FIELD_INDEXES_MAX as u64,
            ));
        }
        let fields = (0..count).map(|_| FieldFileInfo::decode(decoder)).collect::<Result<_, _>>()?;
        let lists_rows = lists_rows != 0;
        Ok(Self { number, points, first, last, vectors, bytes, lists_rows, by_slot, fields })
    }

    /// Whether some rows, from the first to the last, lack a vector of the name.
    fn has_gaps(&self, at: usize) -> bool {
        self.vectors[at] != u64::from(self.last.0 - self.first.0) + 1
    }

    /// Whether the vectors of the name have a file of their rows beside them.
    fn has_rows_file(&self, at: usize) -> bool {
        self.lists_rows && self.vectors[at] > 0 && self.has_gaps(at)
    }

    /// The names of its files.
    pub(crate) fn files(&self) -> Vec<String> {
        let vectors = self.vectors.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut names = vec![points_name(self.number), ids_name(self.number)];
        names.extend(vectors.map(|(at, _)| vectors_name(self.number, at)));
        let listed = (0..self.vectors.len()).filter(|&at| self.has_rows_file(at));
        names.extend(listed.map(|at| rows_name(self.number, at)));
        names.extend(self.fields.iter().map(|file| field_name(file.number)));
        names
    }

    /// Bytes of all its files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.bytes + self.fields.iter().map(|file| file.bytes).sum::<u64>()
    }
}

fn points_name(number: u64) -> String {
    format!("points.{number:06}")
}

fn ids_name(number: u64) -> String {
    format!("ids.{number:06}")
}

pub(crate) fn vectors_name(number: u64, at: usize) -> String {
    format!("vectors.{number:06}.{at:02}")
}

/// Whether a segment of some number has a file of this name.
pub(crate) fn is_segment_file(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    (["points", "ids", "vectors", "rows"].contains(&stem) && name.contains('.')) || is_field_file(name)
}

/// An open segment. Only the files of field indexes and codes come and go; a clone shares the others.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) info: SegmentInfo,
    points: Arc<Table>,
    ids: Arc<Table>,
    pub(crate) vectors: Arc<Vec<Option<Arc<Flat>>>>,
    /// Of the vectors of each name, where they are in memory.
    codes: Vec<Option<Arc<RowCodes>>>,
    fields: Vec<Arc<FieldFile>>,
}

impl Segment {
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        store_id: u64,
        schema: &Schema,
        info: SegmentInfo,
        cache: &Arc<BlockCache>,
    ) -> Result<Self, OpenError> {
        let table = |name: String, kind, part| {
            Table::open(disk, &name, header(kind, store_id, info.number, part), Arc::clone(cache))
        };
        let points = table(points_name(info.number), POINTS_KIND, 0)?;
        let ids = table(ids_name(info.number), IDS_KIND, 1)?;
        let mut vectors = Vec::with_capacity(schema.len());
        for (at, (_, config)) in schema.vectors().enumerate() {
            vectors.push(open_vectors(disk, store_id, &info, at, config.shape())?.map(Arc::new));
        }
        let open = |file: &FieldFileInfo| Arc::new(FieldFile::new(disk, store_id, *file, cache));
        let fields = info.fields.iter().map(open).collect();
        let (points, ids, vectors) = (Arc::new(points), Arc::new(ids), Arc::new(vectors));
        let codes = vec![None; schema.len()];
        Ok(Self { info, points, ids, vectors, codes, fields })
    }

    /// Its file for a field index, if it has one.
    pub(crate) fn field(&self, index: u64) -> Option<&Arc<FieldFile>> {
        self.fields.iter().find(|file| file.info.index == index)
    }

    /// The segment with more files of field indexes.
    pub(crate) fn with_fields(&self, files: Vec<Arc<FieldFile>>) -> Self {
        let mut more = self.clone();
        more.info.fields.extend(files.iter().map(|file| file.info));
        more.fields.extend(files);
        more
    }

    /// The segment without the file of a field index.
    pub(crate) fn without_field(&self, index: u64) -> Self {
        let mut less = self.clone();
        less.info.fields.retain(|file| file.index != index);
        less.fields.retain(|file| file.info.index != index);
        less
    }

    /// The row of an id, dead or alive.
    pub(crate) fn find(&self, id: PointId) -> Result<Option<RowId>, StorageError> {
        let Some(value) = self.ids.get(&id.key())? else { return Ok(None) };
        row_of(&value, self.path()).map(Some)
    }

    /// Whether a row may be in it.
    pub(crate) fn covers(&self, row: RowId) -> bool {
        (self.info.first..=self.info.last).contains(&row)
    }

    /// Ids and payloads of rows, in their order; `None` where a row is not in it.
    pub(crate) fn documents(&self, rows: &[RowId]) -> Result<Vec<Option<(PointId, Payload)>>, StorageError> {
        let keys: Vec<[u8; 4]> = rows.iter().map(|&row| row_key(row)).collect();
        let found = self.points.get_many(&keys)?;
        found
            .into_iter()
            .map(|bytes| bytes.map(|bytes| decode_document(&bytes, self.path())).transpose())
            .collect()
    }

    /// All points in order of their rows.
    pub(crate) fn scan(&self) -> impl Iterator<Item = Result<(RowId, PointId, Payload), StorageError>> {
        self.points.scan().map(|pair| {
            let (key, value) = pair?;
            let (id, payload) = decode_document(&value, self.path())?;
            Ok((row_of(&key, self.path())?, id, payload))
        })
    }

    /// As [`Segment::scan`], of some rows only.
    pub(crate) fn scan_some(
        &self,
        rows: &RoaringBitmap,
    ) -> impl Iterator<Item = Result<(RowId, PointId, Payload), StorageError>> {
        let read = |pair: Result<(Vec<u8>, Vec<u8>), StorageError>| {
            let (key, value) = pair?;
            let row = row_of(&key, self.path())?;
            if !rows.contains(row.0) {
                return Ok(None);
            }
            let (id, payload) = decode_document(&value, self.path())?;
            Ok(Some((row, id, payload)))
        };
        self.points.scan().filter_map(move |pair| read(pair).transpose())
    }

    /// About how many pages must be read to ask so many payloads.
    pub(crate) fn payload_pages(&self, payloads: u64) -> u64 {
        let block = (POINTS_BLOCK_BYTES / PAGE) as u64;
        (payloads * block).min(self.points.summary().bytes / PAGE as u64)
    }

    /// Ids from a bound on, in ascending order, with their rows.
    pub(crate) fn ids_from(
        &self,
        from: Bound<PointId>,
    ) -> impl Iterator<Item = Result<(PointId, RowId), StorageError>> {
        let key = from.map(|id| id.key());
        let from = key.as_ref().map(|key| &key[..]);
        self.ids.range(from, Bound::Unbounded).map(|pair| {
            let (key, value) = pair?;
            decode_id_row(&key, &value, self.path())
        })
    }

    /// All ids with their rows, as they lie in their file.
    pub(crate) fn ids(&self) -> TableIter<'_> {
        self.ids.scan()
    }

    /// A whole point, if its row is in it.
    pub(crate) fn stored(&self, row: RowId) -> Result<Option<Stored>, OpenError> {
        let Some((id, payload)) = self.documents(&[row])?.pop().flatten() else { return Ok(None) };
        Ok(Some(Stored { row, id, vectors: self.vectors_of(row)?, payload }))
    }

    /// The vectors of a row, in the schema's order.
    pub(crate) fn vectors_of(&self, row: RowId) -> Result<Vectors, OpenError> {
        let get = |flat: &Option<Arc<Flat>>| {
            let found = flat.as_ref().map(|flat| flat.get(row)).transpose();
            found.map(|found| found.flatten().map(Vec::into_boxed_slice))
        };
        Ok(self.vectors.iter().map(get).collect::<Result<_, _>>()?)
    }

    /// Gives the vectors of rows that are asked for in order, in the schema's order.
    pub(crate) fn vectors_in_order(&self) -> impl FnMut(RowId) -> Result<Vectors, OpenError> {
        let mut walks: Vec<_> =
            self.vectors.iter().map(|flat| flat.as_ref().map(|flat| flat.walk())).collect();
        move |row| {
            let get = |walk: &mut Option<FlatWalk<'_>>| {
                let found = walk.as_mut().map(|walk| walk.get(row)).transpose();
                found.map(|found| found.flatten().map(Box::from))
            };
            Ok(walks.iter_mut().map(get).collect::<Result<_, _>>()?)
        }
    }

    /// Bytes of memory it takes, beside what the cache holds.
    pub(crate) fn ram_bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|file| file.ram_bytes()).sum();
        let vectors: usize = self.vectors.iter().flatten().map(|flat| flat.ram_bytes()).sum();
        self.points.ram_bytes() + self.ids.ram_bytes() + vectors + fields + self.codes_bytes() as usize
    }

    /// Reads all of it and checks that its files agree; `disk` has them.
    pub(crate) fn verify(&self, disk: &dyn Disk, store_id: u64) -> Result<(), OpenError> {
        self.points.verify()?;
        self.ids.verify()?;
        for (at, vectors) in self.vectors.iter().enumerate() {
            if let Some(vectors) = vectors {
                verify_vectors(disk, store_id, &self.info, at, vectors)?;
            }
        }
        let mut count = 0;
        for point in self.scan() {
            let (row, id, _) = point?;
            count += 1;
            let found = self.find(id)?;
            if found != Some(row) {
                let found = found.map_or(u64::MAX, |row| row.0.into());
                return Err(StorageError::corrupt(self.path(), 0, "row of an id", found, row.0.into()).into());
            }
        }
        if count != self.info.points {
            return Err(StorageError::corrupt(self.path(), 0, "points", count, self.info.points).into());
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.points.path()
    }
}

/// Writes the files of a segment from points in order of their rows.
pub(crate) struct SegmentWriter<'a> {
    disk: &'a dyn Disk,
    store_id: u64,
    schema: &'a Schema,
    info: SegmentInfo,
    points: TableWriter,
    vectors: Vec<Option<FlatWriter>>,
    fields: Vec<FieldWriter>,
}

impl<'a> SegmentWriter<'a> {
    pub(crate) fn create(
        disk: &'a dyn Disk,
        store_id: u64,
        schema: &'a Schema,
        number: u64,
        fields: Vec<FieldWriter>,
    ) -> Result<Self, OpenError> {
        let options = TableOptions { block_bytes: POINTS_BLOCK_BYTES, filter_bits: 0, keys: None };
        let header = header(POINTS_KIND, store_id, number, 0);
        let points = TableWriter::create(disk, &points_name(number), header, options)?;
        let info = SegmentInfo {
            number,
            points: 0,
            first: RowId(0),
            last: RowId(0),
            vectors: vec![0; schema.len()],
            bytes: 0,
            lists_rows: true,
            by_slot: None,
            fields: Vec::new(),
        };
        let vectors = (0..schema.len()).map(|_| None).collect();
        Ok(Self { disk, store_id, schema, info, points, vectors, fields })
    }

    /// Adds a point; its row is above those before it.
    pub(crate) fn push(&mut self, point: &Stored) -> Result<(), OpenError> {
        self.points.push(&row_key(point.row), &encode_document(point.id, &point.payload))?;
        for (at, vector) in point.vectors.iter().enumerate() {
            let (Some(vector), Some(config)) = (vector, self.schema.config(at)) else { continue };
            if self.vectors[at].is_none() {
                let number = self.info.number;
                let (name, id) = (vectors_name(number, at), vectors_id(self.store_id, number, at));
                self.vectors[at] = Some(FlatWriter::create(self.disk, &name, id, config.shape())?);
            }
            if let Some(writer) = &mut self.vectors[at] {
                writer.push(point.row, vector)?;
            }
        }
        self.fields.iter_mut().try_for_each(|field| field.push(point.row, &point.payload))?;
        if self.info.points == 0 {
            self.info.first = point.row;
        }
        self.info.last = point.row;
        self.info.points += 1;
        Ok(())
    }

    /// Ends all files and makes their bytes survive a crash; the folder is up to the caller. `of_points` are their ids and rows, in
    /// order.
    pub(crate) fn finish(
        mut self,
        of_points: impl Iterator<Item = Result<(PointId, RowId), StorageError>>,
    ) -> Result<SegmentInfo, OpenError> {
        self.info.bytes += self.points.finish()?.bytes;
        let header = header(IDS_KIND, self.store_id, self.info.number, 1);
        let name = ids_name(self.info.number);
        let options = TableOptions { keys: Some(self.info.points), ..TableOptions::default() };
        let mut ids = TableWriter::create(self.disk, &name, header, options)?;
        for found in of_points {
            let (id, row) = found?;
            ids.push(&id.key(), &row_key(row))?;
        }
        self.info.bytes += ids.finish()?.bytes;
        for (at, writer) in self.vectors.into_iter().enumerate() {
            let Some(writer) = writer else { continue };
            let written = writer.finish()?;
            self.info.vectors[at] = written.rows.len();
            self.info.bytes += written.bytes;
            if self.info.has_rows_file(at) {
                let number = self.info.number;
                self.info.bytes += write_rows(self.disk, self.store_id, number, at, &written.rows)?;
            }
        }
        self.info.fields = self.fields.into_iter().map(FieldWriter::finish).collect::<Result<_, _>>()?;
        Ok(self.info)
    }
}

/// An entry of a file of ids.
pub(crate) fn decode_id_row(key: &[u8], value: &[u8], path: &Path) -> Result<(PointId, RowId), StorageError> {
    let corrupt = || StorageError::corrupt(path, 0, "point id", key.len() as u64, 17);
    Ok((PointId::from_key(key).ok_or_else(corrupt)?, row_of(value, path)?))
}

fn header(kind: [u8; 4], store_id: u64, number: u64, part: usize) -> FileHeader {
    FileHeader { kind, file_id: file_id(store_id, number, part) }
}

/// Files of a collection have numbers of their own: no two of its files, nor of two collections, are alike.
pub(crate) fn file_id(store_id: u64, number: u64, part: usize) -> u64 {
    let mixed = store_id ^ (number * 128 + part as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}
