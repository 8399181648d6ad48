//! Files of vectors and ids, as the index wants them; and the checks that need both sides.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use nearline::{ElementType, IdSource, RowStream, SourceError, VectorSource};
use nearline_datasets::{DatasetError, IdFile, RowReader, VectorFile, check_finite};

use crate::exit;

/// A file of vectors.
pub(crate) struct Vectors(pub(crate) VectorFile);

impl Vectors {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(VectorFile::open(path)?))
    }
}

impl VectorSource for Vectors {
    fn name(&self) -> String {
        self.0.path().display().to_string()
    }

    fn element(&self) -> ElementType {
        element(self.0.element())
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn count(&self) -> u64 {
        self.0.count()
    }

    fn version(&self) -> u64 {
        version(self.0.path())
    }

    fn rows(&self, from: u64) -> Result<Box<dyn RowStream + '_>, SourceError> {
        Ok(Box::new(Rows(self.0.rows(from)?)))
    }
}

/// A number that changes with a file's content: its length and time of change, mixed.
fn version(path: &Path) -> u64 {
    let Ok(meta) = std::fs::metadata(path) else { return 0 };
    let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = changed.map_or(0, |time| time.as_nanos() as u64);
    meta.len().wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ nanos
}

struct Rows(RowReader);

impl RowStream for Rows {
    fn next_rows(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        Ok(self.0.read(out)?)
    }
}

/// The index's name for an element type.
pub(crate) fn element(element: nearline_datasets::ElementType) -> ElementType {
    match element {
        nearline_datasets::ElementType::F32 => ElementType::F32,
        nearline_datasets::ElementType::F16 => ElementType::F16,
        nearline_datasets::ElementType::U8 => ElementType::U8,
        nearline_datasets::ElementType::I8 => ElementType::I8,
    }
}

/// A file with an id for every row. Reading on where the last call ended is fast, anywhere else starts over.
pub(crate) struct Ids {
    path: std::path::PathBuf,
    count: u64,
    reader: Mutex<Option<At>>,
}

struct At {
    file: IdFile,
    next: u64,
}

impl Ids {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = IdFile::open(path)?;
        if file.columns() != 1 {
            let found = file.columns();
            return Err(exit::bad_input(format!(
                "{}: found {found} ids per row, expected 1",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), count: file.rows(), reader: Mutex::new(None) })
    }

    fn reader_at(&self, held: Option<At>, from: u64) -> Result<At, DatasetError> {
        let mut at = match held {
            Some(at) if at.next <= from => at,
            _ => At { file: IdFile::open(&self.path)?, next: 0 },
        };
        let mut skipped = [0; 512];
        while at.next < from {
            let step = (from - at.next).min(skipped.len() as u64) as usize;
            at.fill(&mut skipped[..step], &self.path)?;
        }
        Ok(at)
    }
}

impl At {
    fn fill(&mut self, out: &mut [u64], path: &Path) -> Result<(), DatasetError> {
        let read = self.file.read(out)?;
        self.next += read as u64;
        if read < out.len() {
            let (found, expected) = (self.next.to_string(), format!("{} more", out.len() - read));
            return Err(DatasetError::Argument { what: format!("{}: ids", path.display()), found, expected });
        }
        Ok(())
    }
}

impl IdSource for Ids {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn version(&self) -> u64 {
        version(&self.path)
    }

    fn ids(&self, from: u64, out: &mut [u64]) -> Result<(), SourceError> {
        let mut held = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = self.reader_at(held.take(), from)?;
        at.fill(out, &self.path)?;
        *held = Some(at);
        Ok(())
    }
}

/// Fails unless vectors of `found` can be compared with vectors of `element` x `dim` from `of`.
pub(crate) fn check_shape(found: &VectorFile, element: &str, dim: usize, of: &str) -> anyhow::Result<()> {
    if found.dim() == dim && found.element().name() == element {
        return Ok(());
    }
    let (file, there) = (found.path().display(), found.element());
    let found = found.dim();
    Err(exit::bad_input(format!("{file}: found {there} x {found}, expected {element} x {dim} as in {of}")))
}

/// Refuses NaN, infinities and, if a direction is needed, zero vectors among rows, the first being row `first`.
pub(crate) fn check_rows(file: &VectorFile, rows: &[u8], first: u64, direction: bool) -> anyhow::Result<()> {
    check_finite(file.element(), rows, file.dim(), first, file.path())?;
    if !direction {
        return Ok(());
    }
    let mut wide = vec![0.0; file.dim()];
    for (i, row) in rows.chunks_exact(file.row_bytes()).enumerate() {
        file.element().widen(row, &mut wide);
        if wide.iter().all(|&value| value == 0.0) {
            return Err(
                DatasetError::ZeroVector { file: file.path().to_owned(), row: first + i as u64 }.into()
            );
        }
    }
    Ok(())
}
