//! The file of a table: a header page, its segments, and at the end what they are.
//!
//! Rows that stand alone lie in extents of as few pages as hold one, so that one read finds a row and checks it; every
//! other segment is a blob.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearline_index::embedding::{Dtype, Method, Rule, Segment};
use nearline_storage::{
    BatchFiles, Decoder, Disk, Encoder, Extent, ExtentFile, ExtentFileWriter, ExtentHeader, FileHeader, PAGE,
    ReadRange, StorageError, Window, extent_bytes, read_blob, write_blob,
};

use super::remap::{REMAP, first_wrong};

/// The kind of such a file.
pub(super) const KIND: [u8; 4] = *b"ETAB";
/// Rows lie in the order of ids.
const VERSION: u16 = 1;
/// Rows lie as the segment [`REMAP`] says. Whoever did not know of it would answer with the rows of other ids.
const REMAPPED: u16 = 2;
/// Kinds of extents.
const ROWS: u16 = 1;
const SEGMENT: u16 = 2;
const DIRECTORY: u16 = 3;
/// Bytes of an extent that are no rows.
const OVERHEAD: usize = 64;
/// Segments and parameters at most.
const SEGMENTS_MAX: u32 = 1 << 17;
/// What a batch of reads may have in flight.
const WINDOW: Window = Window { reads: 256, bytes: 8 << 20 };

/// What a table is, besides its segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) rows: u64,
    pub(super) dim: usize,
    pub(super) params: Vec<u64>,
    /// How it is trained, and the steps so far.
    pub(super) training: Option<(Rule, u64)>,
}

/// A segment in the file.
#[derive(Clone, Debug)]
struct Place {
    name: String,
    dtype: Dtype,
    width: usize,
    range: ReadRange,
}

/// An open file of a table.
#[derive(Debug)]
pub(super) struct TableFile {
    file: ExtentFile,
    pub(super) head: Head,
    /// Where rows that stand alone lie, and the bytes of one.
    rows: Option<(ReadRange, usize)>,
    /// How many they are.
    stored: u64,
    segments: Vec<Place>,
    /// Where the places of ids are, unless rows lie in the order of ids.
    remap: Option<ReadRange>,
    batch: Arc<dyn BatchFiles>,
    reads: AtomicU64,
    read_bytes: AtomicU64,
}

/// Rows that lie one after another, and where their bytes go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The first of them.
    pub(super) first: u64,
    /// How many they are.
    pub(super) len: u64,
    /// Where their bytes begin in what is filled.
    pub(super) at: usize,
}

/// What of an extent goes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    /// The extent's number.
    number: u64,
    /// Where it begins among the bytes of its rows.
    from: usize,
    bytes: usize,
    /// Where it begins in what is filled.
    at: usize,
}

/// How many rows are in an extent, and its bytes.
fn packing(row_bytes: usize) -> (usize, usize) {
    let extent = extent_bytes(&[row_bytes]);
    ((extent - OVERHEAD) / row_bytes, extent)
}

/// Writes rows one after another, then segments.
pub(super) struct TableFileWriter {
    writer: ExtentFileWriter,
    row_bytes: usize,
    pending: Vec<u8>,
    written: u64,
    /// Rows so far.
    count: u64,
    rows_end: u64,
    segments: Vec<Place>,
    is_remapped: bool,
}

impl TableFileWriter {
    pub(super) fn create(disk: &dyn Disk, name: &str, file_id: u64) -> Result<Self, StorageError> {
        let writer = ExtentFileWriter::create(disk, name, FileHeader { kind: KIND, file_id })?;
        let rows_end = writer.position();
        Ok(Self {
            writer,
            row_bytes: 0,
            pending: Vec::new(),
            written: 0,
            count: 0,
            rows_end,
            segments: Vec::new(),
            is_remapped: false,
        })
    }

    /// Adds rows of `row_bytes` bytes, back to back.
    pub(super) fn rows(&mut self, row_bytes: usize, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.row_bytes = row_bytes;
        self.count += (bytes.len() / row_bytes) as u64;
        let full = packing(row_bytes).0 * row_bytes;
        while !bytes.is_empty() {
            let taken = (full - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.pending.len() == full {
                self.extent()?;
            }
        }
        Ok(())
    }

    fn extent(&mut self) -> Result<(), StorageError> {
        let count = (self.pending.len() / self.row_bytes) as u32;
        let header = ExtentHeader { kind: ROWS, codec: 0, owner: self.written as u32, count };
        self.writer.append(&header, &[&self.pending])?;
        self.pending.clear();
        self.written += 1;
        self.rows_end = self.writer.position();
        Ok(())
    }

    /// Adds a segment, behind all rows.
    pub(super) fn segment(&mut self, segment: &Segment<'_>) -> Result<(), StorageError> {
        self.end_rows()?;
        let range = write_blob(&mut self.writer, SEGMENT, &segment.bytes)?;
        let (name, dtype, width) = (segment.name.to_string(), segment.dtype, segment.width);
        self.segments.push(Place { name, dtype, width, range });
        Ok(())
    }

    /// Adds the place of each id, behind all rows, which lie so.
    pub(super) fn remap(&mut self, places: &[u32]) -> Result<(), StorageError> {
        self.is_remapped = true;
        let bytes = bytemuck::cast_slice(places).into();
        self.segment(&Segment { name: REMAP.into(), dtype: Dtype::U32, width: 1, bytes })
    }

    fn end_rows(&mut self) -> Result<(), StorageError> {
        if self.pending.is_empty() { Ok(()) } else { self.extent() }
    }

    /// Ends the file durably; says where its directory is.
    pub(super) fn finish(mut self, head: &Head) -> Result<ReadRange, StorageError> {
        self.end_rows()?;
        let mut out = Encoder::new();
        let version = if self.is_remapped { REMAPPED } else { VERSION };
        out.u16(version).u16(head.method as u16).u64(head.rows).u32(head.dim as u32);
        out.u32(head.params.len() as u32);
        for &param in &head.params {
            out.u64(param);
        }
        encode_training(&mut out, head.training);
        out.u32(self.row_bytes as u32).u64(self.rows_end - PAGE as u64);
        out.u32(self.segments.len() as u32);
        for place in &self.segments {
            let dtype = Dtype::ALL.iter().position(|dtype| *dtype == place.dtype).unwrap_or(0);
            out.str(&place.name).u8(dtype as u8).u32(place.width as u32);
            out.u64(place.range.offset).u64(place.range.bytes as u64);
        }
        if self.row_bytes > 0 && self.count != head.rows {
            out.u64(self.count);
        }
        let range = write_blob(&mut self.writer, DIRECTORY, out.as_bytes())?;
        self.writer.sync()?;
        Ok(range)
    }
}

fn encode_training(out: &mut Encoder, training: Option<(Rule, u64)>) {
    let (kind, values, steps) = match training {
        None => (0, [0.0; 4], 0),
        Some((Rule::Sgd { rate }, steps)) => (1, [rate, 0.0, 0.0, 0.0], steps),
        Some((Rule::Adagrad { rate, epsilon }, steps)) => (2, [rate, epsilon, 0.0, 0.0], steps),
        Some((Rule::Adam { rate, beta1, beta2, epsilon }, steps)) => {
            (3, [rate, beta1, beta2, epsilon], steps)
        }
    };
    out.u8(kind).u64(steps);
    for value in values {
        out.f32(value);
    }
}

fn decode_training(decoder: &mut Decoder<'_>) -> Result<Option<(Rule, u64)>, StorageError> {
    let at = decoder.offset();
    let (kind, steps) = (decoder.u8()?, decoder.u64()?);
    let [a, b, c, d] = [decoder.f32()?, decoder.f32()?, decoder.f32()?, decoder.f32()?];
    let rule = match kind {
        0 => return Ok(None),
        1 => Rule::Sgd { rate: a },
        2 => Rule::Adagrad { rate: a, epsilon: b },
        3 => Rule::Adam { rate: a, beta1: b, beta2: c, epsilon: d },
        other => return Err(decoder.wrong(at, "kind of optimizer", u64::from(other), 3)),
    };
    Ok(Some((rule, steps)))
}

impl TableFile {
    pub(super) fn open(
        disk: &dyn Disk,
        name: &str,
        file_id: u64,
        directory: ReadRange,
    ) -> Result<Self, StorageError> {
        let file = ExtentFile::open(disk, name, KIND)?;
        let path = file.file().path().to_owned();
        let bytes = read_blob(&file, DIRECTORY, directory)?;
        let mut decoder = Decoder::new(&bytes, &path, directory.offset);
        if file.file_id() != file_id {
            return Err(decoder.wrong(0, "identity of the file", file.file_id(), file_id));
        }
        let version = decoder.u16()?;
        if !(VERSION..=REMAPPED).contains(&version) {
            return Err(StorageError::Version { file: path, found: version, supported: REMAPPED });
        }
        let at = decoder.offset();
        let number = decoder.u16()?;
        let method =
            Method::from_number(number).ok_or_else(|| decoder.wrong(at, "method", u64::from(number), 1))?;
        let (rows, dim) = (decoder.u64()?, decoder.u32()? as usize);
        let params = (0..count(&mut decoder)?).map(|_| decoder.u64()).collect::<Result<_, _>>()?;
        let training = decode_training(&mut decoder)?;
        let (row_bytes, rows_len) = (decoder.u32()? as usize, decoder.u64()?);
        let mut segments = Vec::new();
        for _ in 0..count(&mut decoder)? {
            segments.push(decode_place(&mut decoder)?);
        }
        let remap = if version == REMAPPED { Some(find_remap(&decoder, &segments)?) } else { None };
        let stored = if decoder.remaining() > 0 { decoder.u64()? } else { rows };
        decoder.finish()?;
        let range = ReadRange { offset: PAGE as u64, bytes: rows_len as usize };
        if row_bytes > 0 {
            let (per_extent, extent) = packing(row_bytes);
            let expected = stored.div_ceil(per_extent as u64).saturating_mul(extent as u64);
            let full = extent as u64 * (rows_len / extent as u64);
            if expected < full || full.saturating_add(extent as u64) < expected {
                return Err(StorageError::Corrupt {
                    file: path,
                    offset: directory.offset,
                    what: "bytes of rows",
                    found: rows_len,
                    expected,
                });
            }
        }
        let head = Head { method, rows, dim, params, training };
        let rows = (row_bytes > 0).then_some((range, row_bytes));
        let batch = disk.open_batch(&[name])?;
        Ok(Self {
            file,
            head,
            rows,
            stored,
            segments,
            remap,
            batch,
            reads: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
        })
    }

    /// All segments that are blobs.
    pub(super) fn segments(&self) -> Result<Vec<Segment<'static>>, StorageError> {
        self.segments_named(|_| true)
    }

    /// Those with some names.
    pub(super) fn segments_named(
        &self,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Segment<'static>>, StorageError> {
        let read = |place: &Place| {
            let bytes = read_blob(&self.file, SEGMENT, place.range)?;
            let (name, dtype, width) = (Cow::Owned(place.name.clone()), place.dtype, place.width);
            Ok(Segment { name, dtype, width, bytes: bytes.into() })
        };
        self.segments.iter().filter(|place| is_wanted(&place.name)).map(read).collect()
    }

    /// The place of each id, unless rows lie in the order of ids.
    pub(super) fn remap(&self) -> Result<Option<Arc<[u32]>>, StorageError> {
        let Some(range) = self.remap else { return Ok(None) };
        let wrong = |what: &'static str, found: u64, expected: u64| {
            StorageError::corrupt(self.file.file().path(), range.offset, what, found, expected)
        };
        let bytes = read_blob(&self.file, SEGMENT, range)?;
        let expected = self.stored.saturating_mul(size_of::<u32>() as u64);
        if bytes.len() as u64 != expected {
            return Err(wrong("bytes of places of rows", bytes.len() as u64, expected));
        }
        let words = bytes.as_chunks().0.iter();
        let places: Arc<[u32]> = words.map(|&word| u32::from_le_bytes(word)).collect();
        match first_wrong(&places) {
            Some(place) if u64::from(place) < self.stored => {
                Err(wrong("place of two rows", place.into(), self.stored))
            }
            Some(place) => Err(wrong("place of a row", place.into(), self.stored)),
            None => Ok(Some(places)),
        }
    }

    /// Number of rows that stand alone.
    pub(super) fn stored_rows(&self) -> u64 {
        self.stored
    }

    /// Bytes of a row that stands alone; 0 if there are none.
    pub(super) fn row_bytes(&self) -> usize {
        self.rows.map_or(0, |(_, row_bytes)| row_bytes)
    }

    /// How many rows an extent has that is full.
    pub(super) fn rows_per_extent(&self) -> u64 {
        packing(self.row_bytes().max(1)).0 as u64
    }

    /// Reads rows `from..to`, back to back, many extents in flight.
    pub(super) fn read_rows(&self, from: u64, to: u64, out: &mut Vec<u8>) -> Result<(), StorageError> {
        let at = out.len();
        out.resize(at + (to - from) as usize * self.row_bytes(), 0);
        self.read_runs(&[Wanted { first: from, len: to - from, at }], out)
    }

    /// Reads runs of rows, which are in the file: each extent once, however much of it is wanted, all of them in flight together
    /// as far as the window goes.
    pub(super) fn read_runs(&self, wanted: &[Wanted], out: &mut [u8]) -> Result<(), StorageError> {
        let mut pieces = self.pieces(wanted);
        pieces.sort_unstable();
        let groups: Vec<&[Piece]> = pieces.chunk_by(|a, b| a.number == b.number).collect();
        let numbers: Vec<u64> = groups.iter().map(|group| group[0].number).collect();
        self.each_extent(&numbers, |at, rows| {
            for piece in groups[at] {
                out[piece.at..][..piece.bytes].copy_from_slice(&rows[piece.from..][..piece.bytes]);
            }
        })
    }

    /// Runs cut where extents end.
    fn pieces(&self, wanted: &[Wanted]) -> Vec<Piece> {
        let (row_bytes, per_extent) = (self.row_bytes(), self.rows_per_extent());
        let mut pieces = Vec::with_capacity(wanted.len());
        for run in wanted {
            let (mut first, mut at, end) = (run.first, run.at, run.first + run.len);
            while first < end {
                let (number, before) = (first / per_extent, first % per_extent);
                let rows = (per_extent - before).min(end - first);
                let bytes = rows as usize * row_bytes;
                pieces.push(Piece { number, from: before as usize * row_bytes, bytes, at });
                (first, at) = (first + rows, at + bytes);
            }
        }
        pieces
    }

    /// Reads extents of rows by their numbers, in any order; `take` gets which of `numbers` it is, and its rows.
    fn each_extent(&self, numbers: &[u64], mut take: impl FnMut(usize, &[u8])) -> Result<(), StorageError> {
        let mut reader = self.batch.reader(WINDOW);
        let mut next = 0;
        for _ in 0..numbers.len() {
            while next < numbers.len() {
                let range = self.extent_range(numbers[next]);
                if !reader.has_room(range) {
                    break;
                }
                reader.submit(next as u64, 0, range)?;
                self.reads.fetch_add(1, Ordering::Relaxed);
                self.read_bytes.fetch_add(range.bytes as u64, Ordering::Relaxed);
                next += 1;
            }
            let Some(completed) = reader.wait()? else { break };
            let at = completed.tag as usize;
            let extent = self.file.decode(self.extent_range(numbers[at]).offset, completed.bytes)?;
            take(at, self.checked(numbers[at], &extent)?);
        }
        Ok(())
    }

    /// Reads of rows since the file was opened, and their bytes.
    pub(super) fn reads(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.read_bytes.load(Ordering::Relaxed))
    }

    fn extent_range(&self, number: u64) -> ReadRange {
        let (_, extent) = packing(self.row_bytes().max(1));
        let rows = self.rows.map_or(PAGE as u64, |(range, _)| range.offset);
        let offset = rows + number * extent as u64;
        // The last one may be shorter.
        let end = self.rows.map_or(0, |(range, _)| range.end());
        ReadRange { offset, bytes: extent.min(end.saturating_sub(offset) as usize).max(PAGE) }
    }

    /// The rows of an extent, if they are the ones that belong there.
    fn checked<'a>(&self, number: u64, extent: &Extent<'a>) -> Result<&'a [u8], StorageError> {
        let per_extent = packing(self.row_bytes()).0 as u64;
        let expected =
            per_extent.min(self.stored.saturating_sub(number * per_extent)) as usize * self.row_bytes();
        let bytes = extent.plane(0);
        if extent.header.kind == ROWS && bytes.len() == expected {
            return Ok(bytes);
        }
        Err(StorageError::Corrupt {
            file: self.file.file().path().to_owned(),
            offset: self.extent_range(number).offset,
            what: "bytes of rows in an extent",
            found: bytes.len() as u64,
            expected: expected as u64,
        })
    }

    /// Reads every extent and checks it.
    pub(super) fn verify(&self) -> Result<(), StorageError> {
        let mut extents = self.file.extents();
        while extents.next()?.is_some() {}
        self.remap()?;
        self.segments().map(drop)
    }
}

fn count(decoder: &mut Decoder<'_>) -> Result<u32, StorageError> {
    let at = decoder.offset();
    match decoder.u32()? {
        count if count <= SEGMENTS_MAX => Ok(count),
        count => Err(decoder.wrong(at, "parts of a table", u64::from(count), u64::from(SEGMENTS_MAX))),
    }
}

/// Where the places of ids are, in a file that has to have them.
fn find_remap(decoder: &Decoder<'_>, segments: &[Place]) -> Result<ReadRange, StorageError> {
    let found = segments.iter().find(|place| place.name == REMAP && place.dtype == Dtype::U32);
    let found = found.map(|place| place.range);
    found.ok_or_else(|| decoder.wrong(decoder.offset(), "number of segments with places of rows", 0, 1))
}

fn decode_place(decoder: &mut Decoder<'_>) -> Result<Place, StorageError> {
    let name = decoder.str()?.to_owned();
    let at = decoder.offset();
    let number = decoder.u8()?;
    let dtype = Dtype::ALL.get(usize::from(number)).copied();
    let dtype = dtype.ok_or_else(|| decoder.wrong(at, "type of values", u64::from(number), 5))?;
    let width = decoder.u32()? as usize;
    let range = ReadRange { offset: decoder.u64()?, bytes: decoder.u64()? as usize };
    Ok(Place { name, dtype, width, range })
}
