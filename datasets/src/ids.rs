//! Files of ids: row numbers of neighbours, or the callers' own ids of vectors.

use std::path::Path;

use crate::format::{self, IdFormat, check_count, check_dim};
use crate::output::Output;
use crate::stream::{ByteStream, plain_len};
use crate::{DatasetError, Result, bin, npy, vecs};

/// Bytes asked for at once by [`read_ids`].
const STEP: usize = 1 << 16;

/// A file of ids, read in order: `ibin` (u32 rows, u32 columns, u32 ids), `i64bin` (the same with u64 ids),
/// `ivecs` (each row led by its length, i32 ids) or `npy` (`<u4 <u8 <i4 <i8`, shape n or n x k), each also with
/// `.gz`. Negative ids are refused.
pub struct IdFile {
    stream: ByteStream,
    kind: IdKind,
    prefixed: bool,
    rows: u64,
    columns: usize,
    gz: bool,
    next: u64,
    expected: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IdKind {
    U32,
    U64,
    I32,
    I64,
}

impl IdKind {
    fn bytes(self) -> usize {
        match self {
            Self::U32 | Self::I32 => 4,
            Self::U64 | Self::I64 => 8,
        }
    }

    fn of_npy(path: &Path, descr: &str) -> Result<Self> {
        match descr {
            "<u4" => Ok(Self::U32),
            "<u8" => Ok(Self::U64),
            "<i4" => Ok(Self::I32),
            "<i8" => Ok(Self::I64),
            other => {
                Err(DatasetError::header(path, "npy type of ids", other, "<u4, <u8, <i4 or <i8 (use astype)"))
            }
        }
    }
}

impl IdFile {
    /// Reads the header and checks the length of a plain file; that of a compressed one is checked when its
    /// last id is read.
    pub fn open(path: &Path) -> Result<IdFile> {
        let (format, gz) = format::of_ids(path)?;
        let mut stream = ByteStream::open(path, gz)?;
        let (kind, rows, columns) = match format {
            IdFormat::Ivecs => {
                let (columns, rows) = vecs::shape(&mut stream, 4, gz)?;
                stream = ByteStream::open(path, gz)?;
                (IdKind::I32, rows, columns as u64)
            }
            IdFormat::Ibin | IdFormat::I64bin => {
                let (rows, columns) = bin::read_header(&mut stream)?;
                let kind = if format == IdFormat::Ibin { IdKind::U32 } else { IdKind::U64 };
                (kind, rows.into(), columns.into())
            }
            IdFormat::Npy => {
                let header = npy::read_header(&mut stream)?;
                let kind = IdKind::of_npy(path, &header.descr)?;
                match header.shape[..] {
                    [rows] => (kind, rows, 1),
                    [rows, columns] => (kind, rows, columns),
                    _ => return Err(header.wrong_shape(path, "one or two dimensions: rows, ids per row")),
                }
            }
        };
        let (rows, columns) = (check_count(path, rows)?, check_dim(path, columns)?);
        let prefixed = format == IdFormat::Ivecs;
        let mut file = Self { stream, kind, prefixed, rows, columns, gz, next: 0, expected: 0 };
        file.check_len()?;
        Ok(file)
    }

    /// Number of rows, at least 1.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Ids per row, 1 to 65,535.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Reads the next ids, row by row, and returns their number: fewer than `out.len()` only at the end.
    ///
    /// # Errors
    /// A negative id, a stream that ends early or goes on, rows of another length, an I/O error.
    pub fn read(&mut self, out: &mut [u64]) -> Result<usize> {
        let width = self.kind.bytes();
        let left = self.rows * self.columns as u64 - self.next; // checked in `check_len`
        let wanted = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut buffer = vec![0; wanted.min(STEP) * width];
        let mut done = 0;
        while done < wanted {
            let mut step = (wanted - done).min(STEP);
            if self.prefixed {
                step = step.min(self.start_row()?);
            }
            let bytes = &mut buffer[..step * width];
            self.fill(bytes)?;
            for (id, bytes) in out[done..done + step].iter_mut().zip(bytes.chunks_exact(width)) {
                *id = self.decode(bytes)?;
                self.next += 1;
            }
            done += step;
        }
        if wanted > 0 && wanted as u64 == left {
            let shape = self.shape();
            self.stream.expect_end(|| shape)?;
        }
        Ok(wanted)
    }

    /// Reads a row's prefix when at its start; returns the ids left in the row.
    fn start_row(&mut self) -> Result<usize> {
        let columns = self.columns as u64;
        if self.next.is_multiple_of(columns) {
            let mut prefix = [0; vecs::PREFIX];
            self.fill(&mut prefix)?;
            vecs::check_prefix(&self.stream, prefix, self.columns as u32, self.next / columns)?;
        }
        Ok((columns - self.next % columns) as usize)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        if self.stream.fill(bytes)? == bytes.len() {
            return Ok(());
        }
        Err(self.stream.wrong_size(self.stream.position(), self.expected, self.shape()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64> {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let raw = u64::from_le_bytes(wide);
        let signed = match self.kind {
            IdKind::U32 | IdKind::U64 => return Ok(raw),
            IdKind::I32 => i64::from(raw as u32 as i32),
            IdKind::I64 => raw as i64,
        };
        u64::try_from(signed).map_err(|_| {
            let found = format!("{signed} in row {}", self.next / self.columns as u64);
            DatasetError::header(self.stream.path(), "id", found, "0 or more")
        })
    }

    fn shape(&self) -> String {
        format!("{} rows x {} ids of {} bytes", self.rows, self.columns, self.kind.bytes())
    }

    fn check_len(&mut self) -> Result<()> {
        let row = self.columns * self.kind.bytes() + if self.prefixed { vecs::PREFIX } else { 0 };
        let data = self.rows.checked_mul(row as u64);
        let expected = data.and_then(|bytes| bytes.checked_add(self.stream.position()));
        self.expected = expected.ok_or_else(|| {
            DatasetError::header(self.stream.path(), "shape", self.shape(), "fewer than 2^64 bytes in all")
        })?;
        if self.gz {
            return Ok(());
        }
        let found = plain_len(self.stream.path())?;
        if found != self.expected {
            return Err(self.stream.wrong_size(found, self.expected, self.shape()));
        }
        Ok(())
    }
}

/// All ids of a file, row by row.
///
/// # Errors
/// As [`IdFile::open`] and [`IdFile::read`].
pub fn read_ids(path: &Path) -> Result<Vec<u64>> {
    let mut file = IdFile::open(path)?;
    let (mut ids, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        match file.read(&mut step)? {
            0 => return Ok(ids),
            n => ids.extend_from_slice(&step[..n]),
        }
    }
}

/// Writes ids, `columns` to a row, as `ibin` (each at most 2^32 - 1) or `i64bin`, by the extension.
///
/// # Errors
/// Another or a compressed extension, no ids, ids that are not whole rows or too large, an I/O error.
pub fn write_ids(path: &Path, ids: &[u64], columns: usize) -> Result<()> {
    let (format, gz) = format::of_ids(path)?;
    if gz || !matches!(format, IdFormat::Ibin | IdFormat::I64bin) {
        let what = format!("{}: extension to write", path.display());
        return Err(DatasetError::argument(what, path.display(), "ibin or i64bin, not compressed"));
    }
    check_dim(path, columns as u64)?;
    let rows = check_count(path, (ids.len() / columns) as u64)?;
    let (Ok(rows), true) = (u32::try_from(rows), ids.len().is_multiple_of(columns)) else {
        let expected = format!("whole rows of {columns}, fewer than 2^32 rows");
        return Err(DatasetError::header(path, "number of ids", ids.len(), expected));
    };
    let mut output = Output::create(path)?;
    let header = bin::header(rows, columns as u32);
    output.write(&header)?;
    for &id in ids {
        match (format, u32::try_from(id)) {
            (IdFormat::I64bin, _) => output.write(&id.to_le_bytes())?,
            (_, Ok(id)) => output.write(&id.to_le_bytes())?,
            (_, Err(_)) => return Err(DatasetError::header(path, "id", id, "at most 2^32 - 1 (use i64bin)")),
        }
    }
    output.finish(&header)
}
