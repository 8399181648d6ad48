//! Tables whose rows are runs of values (ROBE, STABLE-RPS, MDE, OptEmbed, DeepLight, MGQE), served: the values as far as memory
//! goes and from the disk, and in memory what says which runs a row is made of.
//!
//! In the file a value is what a row is in others: they lie by the page, in the order of the segments that are values.

use std::sync::Arc;

use nearline_index::embedding::{Gathered, Run, Runs, Segment, Segments, Table, open, open_runs};
use nearline_storage::{ReadRange, StorageError};

use super::error::TableError;
use super::file::{Head, TableFile, TableFileWriter, Wanted};

/// Values written to a new file at a time.
const WRITTEN_VALUES: u64 = 1 << 20;

/// Rows made of values of which the first are in memory, the others in the file.
#[derive(Clone)]
pub(super) struct RunRows {
    pub(super) file: Arc<TableFile>,
    layout: Arc<dyn Runs>,
    /// The first values, by the extent.
    pub(super) hot: Arc<Vec<u8>>,
    /// Name and bytes of each segment that the layout has taken in.
    beside: Vec<(String, u64)>,
}

impl RunRows {
    /// The rows of a file, as many values in memory as so many bytes hold besides the other segments, which always are; nothing
    /// if all of it is held.
    pub(super) fn load(
        file: &Arc<TableFile>,
        segments: &[Segment<'static>],
        resident_bytes: u64,
    ) -> Result<Option<Self>, TableError> {
        let beside: Vec<(String, u64)> =
            segments.iter().map(|one| (one.name.to_string(), one.bytes.len() as u64)).collect();
        let (values, width) = (file.stored_rows(), file.row_bytes() as u64);
        let room = resident_bytes.saturating_sub(beside.iter().map(|(_, bytes)| bytes).sum()) / width;
        if values <= room {
            return Ok(None);
        }
        let Head { method, rows, dim, params, .. } = &file.head;
        let layout = open_runs(*method, *rows, *dim, params, Segments(segments), values)?;
        check_width(&*layout, file)?;
        let (per_extent, mut hot) = (file.rows_per_extent(), Vec::new());
        file.read_rows(0, room / per_extent * per_extent, &mut hot)?;
        Ok(Some(Self { file: Arc::clone(file), layout, hot: Arc::new(hot), beside }))
    }

    pub(super) fn head(&self) -> &Head {
        &self.file.head
    }

    /// Answers from the rows asked for, in which the first id is 0, the second 1; their values on the disk are read in one
    /// round.
    pub(super) fn ask(
        &self,
        ids: &[u64],
        answer: impl FnOnce(&dyn Table, &[u64]) -> nearline_index::Result<()>,
    ) -> Result<(), TableError> {
        let mut rows = Gathered::new(&*self.layout, ids)?;
        let (runs, values) = rows.parts_mut();
        self.read(runs, values)?;
        let numbers: Vec<u64> = (0..ids.len() as u64).collect();
        Ok(answer(&rows, &numbers)?)
    }

    /// The bytes of runs, back to back.
    fn read(&self, runs: &[Run], out: &mut [u8]) -> Result<(), StorageError> {
        let width = self.file.row_bytes();
        let (hot, mut cold, mut at) = ((self.hot.len() / width) as u64, Vec::new(), 0);
        for &Run { first, len } in runs {
            let end = first + u64::from(len);
            let split = hot.clamp(first, end);
            let bytes = (split - first) as usize * width;
            if bytes > 0 {
                out[at..at + bytes].copy_from_slice(&self.hot[first as usize * width..][..bytes]);
            }
            if split < end {
                cold.push(Wanted { first: split, len: end - split, at: at + bytes });
            }
            at += len as usize * width;
        }
        if cold.is_empty() { Ok(()) } else { self.file.read_runs(&cold, out) }
    }

    /// How many rows there would be in memory if each had as many of its values there as all have.
    pub(super) fn resident(&self) -> u64 {
        let hot = (self.hot.len() / self.file.row_bytes()) as u128;
        (u128::from(self.head().rows) * hot / u128::from(self.file.stored_rows().max(1))) as u64
    }

    /// What a lookup needs, by segment.
    pub(super) fn bytes(&self) -> Vec<(String, u64)> {
        let width = self.file.row_bytes() as u64;
        let parts = self.layout.parts().into_iter().map(|part| (part.name, part.values * width));
        self.beside.iter().cloned().chain(parts).collect()
    }

    /// The segments of the table, all in memory.
    pub(super) fn segments(&self) -> Result<Vec<Segment<'static>>, TableError> {
        whole(&self.file, &*self.layout, self.file.segments()?)
    }

    /// Writes all of it to a new file.
    pub(super) fn write(&self, mut out: TableFileWriter) -> Result<ReadRange, StorageError> {
        let (values, mut bytes, mut from) = (self.file.stored_rows(), Vec::new(), 0);
        while from < values {
            let to = (from + WRITTEN_VALUES).min(values);
            bytes.clear();
            self.file.read_rows(from, to, &mut bytes)?;
            out.rows(self.file.row_bytes(), &bytes)?;
            from = to;
        }
        self.file.segments()?.iter().try_for_each(|segment| out.segment(segment))?;
        out.finish(self.head())
    }
}

/// The table of such a file, all in memory.
pub(super) fn open_whole(
    file: &TableFile,
    segments: Vec<Segment<'static>>,
) -> Result<Box<dyn Table>, TableError> {
    let Head { method, rows, dim, params, .. } = &file.head;
    let layout = open_runs(*method, *rows, *dim, params, Segments(&segments), file.stored_rows())?;
    check_width(&*layout, file)?;
    let segments = whole(file, &*layout, segments)?;
    drop(layout);
    Ok(open(*method, *rows, *dim, params, Segments(&segments))?)
}

/// Adds the segments that are values to the others.
fn whole(
    file: &TableFile,
    layout: &dyn Runs,
    mut segments: Vec<Segment<'static>>,
) -> Result<Vec<Segment<'static>>, TableError> {
    let mut from = 0;
    for part in layout.parts() {
        let mut bytes = Vec::new();
        file.read_rows(from, from + part.values, &mut bytes)?;
        from += part.values;
        let (name, dtype, width) = (part.name.into(), layout.dtype(), part.width);
        segments.push(Segment { name, dtype, width, bytes: bytes.into() });
    }
    Ok(segments)
}

/// Refuses values of another type than the table's.
fn check_width(layout: &dyn Runs, file: &TableFile) -> Result<(), TableError> {
    let expected = layout.dtype().bytes();
    if file.row_bytes() == expected {
        return Ok(());
    }
    Err(TableError::bad("bytes of a value", file.row_bytes(), expected.to_string()))
}
