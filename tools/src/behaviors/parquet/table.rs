//! A table: its columns, read side by side, some rows at a time.

use std::fs::File;
use std::path::{Path, PathBuf};

use nearline_datasets::DatasetError;
use parquet::basic::Compression;
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::column::{Column, Contents, Trouble, Wanted};
use crate::{exit, guard};

/// A table that is read from its first row to its last. Of a row group, a page of each column is in memory at a time.
pub(super) struct Table {
    path: PathBuf,
    bytes: u64,
    reader: SerializedFileReader<File>,
    columns: Vec<Column>,
    /// Rows read together at most.
    batch: usize,
    /// The row group that is read, from 1; 0 before the first.
    group: usize,
    /// Its columns, and the rows that are left in it.
    chunks: Vec<ColumnReader>,
    left: usize,
    /// Rows before what is read next.
    row: u64,
}

/// Some rows that follow each other.
pub(super) struct Batch {
    /// The number of the first, from 1, over all row groups.
    pub(super) first: u64,
    pub(super) rows: usize,
    /// What they have in each column, in the order in which columns were asked for.
    pub(super) contents: Vec<Contents>,
}

impl Table {
    /// Opens a file and reads what it says of itself.
    pub(super) fn open(path: &Path, batch: usize) -> anyhow::Result<Self> {
        let io = |action, source| DatasetError::Io { file: path.to_owned(), action, source };
        let file = File::open(path).map_err(|error| io("open", error))?;
        let bytes = file.metadata().map_err(|error| io("read", error))?.len();
        let reader = guard::guarded(|| SerializedFileReader::new(file)).unwrap_or_else(|| Err(gave_up()));
        let reader = reader.map_err(|error| failed(path, "", error))?;
        check_rows(&reader).map_err(|error| failed(path, "", error))?;
        let (path, columns, chunks) = (path.to_owned(), Vec::new(), Vec::new());
        Ok(Self { path, bytes, reader, columns, batch, group: 0, chunks, left: 0, row: 0 })
    }

    /// Asks for a column; says whether the table has it.
    pub(super) fn ask(&mut self, name: &'static str, wanted: Wanted) -> anyhow::Result<bool> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let found = Column::find(schema, name, wanted).map_err(|what| self.wrong(what))?;
        let is_there = found.is_some();
        self.columns.extend(found);
        Ok(is_there)
    }

    /// Whether the table has a column, of whatever type.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|found| found == name)
    }

    /// An error that names the columns there are.
    pub(super) fn lacks(&self, expected: &str) -> anyhow::Error {
        let names: Vec<&str> = self.names().collect();
        self.wrong(format!("found columns {names:?}; expected {expected}"))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        schema.root_schema().get_fields().iter().map(|field| field.name())
    }

    /// The next rows; `None` behind the last.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Batch>> {
        while self.left == 0 {
            if self.group == self.reader.num_row_groups() {
                return Ok(None);
            }
            self.open_group()?;
        }
        let (first, rows) = (self.row + 1, self.left.min(self.batch));
        let mut contents = Vec::with_capacity(self.columns.len());
        for (column, chunk) in self.columns.iter().zip(&mut self.chunks) {
            let read = guard::guarded(|| column.read(chunk, rows)).unwrap_or_else(|| Err(gave_up().into()));
            match read {
                Ok(read) => contents.push(read),
                Err(trouble) => return Err(self.troubled(column.name, trouble)),
            }
        }
        self.left -= rows;
        self.row += rows as u64;
        Ok(Some(Batch { first, rows, contents }))
    }

    fn open_group(&mut self) -> anyhow::Result<()> {
        let at = self.group;
        self.group += 1;
        let opened = guard::guarded(|| open_columns(&self.reader, at, &self.columns, self.bytes));
        let opened = opened.unwrap_or_else(|| Err(gave_up()));
        (self.chunks, self.left) = opened.map_err(|error| failed(&self.path, &self.place(), error))?;
        Ok(())
    }

    fn troubled(&self, name: &str, trouble: Trouble) -> anyhow::Error {
        match trouble {
            Trouble::Reader(error) => failed(&self.path, &format!("{}{name}: ", self.place()), error),
            Trouble::Row(row, what) => self.wrong_row(self.row + 1 + row as u64, format!("{name}: {what}")),
            Trouble::Whole(what) => self.wrong(format!("{}{name}: {what}", self.place())),
        }
    }

    fn place(&self) -> String {
        format!("row group {}: ", self.group)
    }

    /// What is wrong with a row of the batch read last, by its number from 1.
    pub(super) fn wrong_row(&self, row: u64, what: impl std::fmt::Display) -> anyhow::Error {
        self.wrong(format!("row group {}, row {row}: {what}", self.group))
    }

    fn wrong(&self, what: impl std::fmt::Display) -> anyhow::Error {
        exit::bad_input(format!("{}: {what}", self.path.display()))
    }
}

/// Refuses a file whose groups have other numbers of rows than all of it: what it says of itself has no checksum.
fn check_rows(reader: &SerializedFileReader<File>) -> Result<(), ParquetError> {
    let metadata = reader.metadata();
    let sum: i128 = metadata.row_groups().iter().map(|group| i128::from(group.num_rows())).sum();
    let all = metadata.file_metadata().num_rows();
    if sum != i128::from(all) {
        let text = format!("found {sum} rows in its groups, and {all} in all");
        return Err(ParquetError::General(text));
    }
    Ok(())
}

/// The columns of a row group, and how many rows it has.
fn open_columns(
    reader: &SerializedFileReader<File>,
    at: usize,
    columns: &[Column],
    bytes: u64,
) -> Result<(Vec<ColumnReader>, usize), ParquetError> {
    let group = reader.get_row_group(at)?;
    let mut chunks = Vec::with_capacity(columns.len());
    for column in columns {
        let described = group.metadata().column(column.leaf);
        let compression = described.compression();
        if !matches!(compression, Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_)) {
            let found = compression.to_string();
            let found = found.split('(').next().unwrap_or_default();
            let text = format!("{}: found compression {found}; expected none, SNAPPY or GZIP", column.name);
            return Err(ParquetError::General(text));
        }
        let (from, length) = described.byte_range();
        // Otherwise memory would be asked for by what a damaged file says.
        if from.checked_add(length).is_none_or(|end| end > bytes) {
            let text = format!("{}: found {length} bytes from {from} on; the file has {bytes}", column.name);
            return Err(ParquetError::General(text));
        }
        chunks.push(group.get_column_reader(column.leaf)?);
    }
    let rows = group.metadata().num_rows();
    for column in columns {
        let values = group.metadata().column(column.leaf).num_values();
        if !column.fits(values, rows) {
            let text = format!("{}: found {values} values in {rows} rows", column.name);
            return Err(ParquetError::General(text));
        }
    }
    let rows = usize::try_from(rows).map_err(|_| ParquetError::General(format!("found {rows} rows")))?;
    Ok((chunks, rows))
}

/// What stands for a panic of the reader, which has some where bytes make no sense.
fn gave_up() -> ParquetError {
    ParquetError::General("found bytes that make no sense; copy or make the file again".to_owned())
}

/// A fault of the disk as such, all others as those of the file.
fn failed(path: &Path, place: &str, error: ParquetError) -> anyhow::Error {
    let text = match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(source) if source.raw_os_error().is_some() => {
                return DatasetError::Io { file: path.to_owned(), action: "read", source: *source }.into();
            }
            Ok(source) => source.to_string(),
            Err(cause) => cause.to_string(),
        },
        ParquetError::General(text) | ParquetError::EOF(text) | ParquetError::NYI(text) => text,
        other => other.to_string(),
    };
    exit::bad_input(format!("{}: {place}cannot be read as Parquet: {text}", path.display()))
}
