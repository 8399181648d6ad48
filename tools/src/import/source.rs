//! The files of an import, read side by side: one point a row.

use std::path::Path;

use nearline::{Payload, PointId, Vector};
use nearline_datasets::{IdFile, RowReader, VectorFile};

use super::lines::Lines;
use crate::{db, exit, source};

/// Bytes of a batch at which it is full, however few its points are.
const BATCH_BYTES: usize = 16 << 20;

/// What files say of a point. What they do not say stays as it is.
pub(crate) struct Incoming {
    pub(crate) id: PointId,
    pub(crate) vectors: Vec<(String, Vector)>,
    pub(crate) payload: Option<Payload>,
}

/// All files of an import.
pub(crate) struct Source {
    ids: Ids,
    payloads: Option<Lines>,
    pub(crate) columns: Vec<Column>,
    /// Points, unless only the last line will tell.
    pub(crate) total: Option<u64>,
    next: u64,
}

/// Where ids come from.
pub(crate) enum Ids {
    /// They are the rows' numbers.
    Rows,
    Binary(IdFile, std::path::PathBuf),
    Text(Lines),
}

/// A file with vectors of one name.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) file: VectorFile,
    rows: RowReader,
    row: Vec<u8>,
    /// Whether a vector must have a direction.
    pub(crate) wants_direction: bool,
    only: Option<Only>,
}

/// The ids of the points that a column is about, if not all: in the order of all ids.
struct Only {
    ids: Ids,
    next: Option<PointId>,
    path: std::path::PathBuf,
}

impl Source {
    /// Files that belong together; `total` points, if that is known.
    pub(crate) fn new(
        ids: Ids,
        payloads: Option<Lines>,
        columns: Vec<Column>,
        total: Option<u64>,
    ) -> anyhow::Result<Self> {
        let dense = columns.iter().find(|column| column.only.is_none());
        let total = total.or(dense.map(|column| column.file.count()));
        for column in columns.iter().filter(|column| column.only.is_none()) {
            check_count(column.file.path(), "vectors", column.file.count(), total)?;
        }
        if let Ids::Binary(file, path) = &ids {
            check_count(path, "ids", file.rows(), total)?;
        }
        let total = total.or(ids.count());
        Ok(Self { ids, payloads, columns, total, next: 0 })
    }

    /// The next points, so many at most; none at the end. Whatever is wrong with one of them is an error.
    pub(crate) fn batch(&mut self, most: usize) -> anyhow::Result<Vec<Incoming>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < most && bytes < BATCH_BYTES {
            if self.is_at_end()? {
                self.check_ends()?;
                break;
            }
            let point = self.point()?;
            bytes += self.payloads.as_ref().map_or(0, Lines::bytes);
            bytes += self.columns.iter().map(|column| column.row.len()).sum::<usize>();
            batch.push(point);
        }
        // What is wrong behind the last point is found before the last point is written.
        if self.is_at_end()? {
            self.check_ends()?;
        }
        Ok(batch)
    }

    fn is_at_end(&mut self) -> anyhow::Result<bool> {
        match (self.total, &mut self.ids, &mut self.payloads) {
            (Some(total), _, _) => Ok(self.next == total),
            (None, Ids::Text(lines), _) | (None, _, Some(lines)) => lines.is_at_end(),
            (None, _, None) => Ok(true),
        }
    }

    fn point(&mut self) -> anyhow::Result<Incoming> {
        let row = self.next;
        let expected = self.expected();
        let Some(id) = self.ids.next(row)? else { return Err(self.ids.too_few(row, &expected)) };
        let payload = match &mut self.payloads {
            Some(lines) => match lines.payload()? {
                Some(payload) => Some(payload),
                None => return Err(too_few(lines.path(), lines.number(), &expected)),
            },
            None => None,
        };
        let mut vectors = Vec::new();
        for column in &mut self.columns {
            vectors.extend(column.vector(id)?.map(|vector| (column.name.clone(), vector)));
        }
        self.next += 1;
        Ok(Incoming { id, vectors, payload })
    }

    /// How many lines there should be, in words.
    fn expected(&self) -> String {
        let dense = self.columns.iter().find(|column| column.only.is_none());
        let of = dense.map(|column| column.file.path().display().to_string());
        match (self.total, of) {
            (Some(total), Some(of)) => format!("{total}, one for each vector of {of}"),
            (Some(total), None) => format!("{total}, one for each id"),
            (None, _) => "one for each id".to_owned(),
        }
    }

    /// Fails if a file has more than belongs to the points.
    fn check_ends(&mut self) -> anyhow::Result<()> {
        let expected = self.expected();
        let ids = if let Ids::Text(lines) = &mut self.ids { Some(lines) } else { None };
        for lines in ids.into_iter().chain(&mut self.payloads) {
            if !lines.is_at_end()? {
                let (path, found) = (lines.path().display(), lines.number());
                return Err(exit::bad_input(format!(
                    "{path}: found more than {found} lines; expected {expected}"
                )));
            }
        }
        self.columns.iter().try_for_each(Column::check_end)
    }
}

impl Ids {
    /// Ids from a file, or the rows' numbers.
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Rows) };
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) {
            return Ok(Self::Text(Lines::open(path)?));
        }
        let file = IdFile::open(path)?;
        match file.columns() {
            1 => Ok(Self::Binary(file, path.to_owned())),
            found => {
                let path = path.display();
                Err(exit::bad_input(format!("{path}: found {found} ids per row, expected 1")))
            }
        }
    }

    fn count(&self) -> Option<u64> {
        if let Self::Binary(file, _) = self { Some(file.rows()) } else { None }
    }

    fn next(&mut self, row: u64) -> anyhow::Result<Option<PointId>> {
        match self {
            Self::Rows => Ok(Some(row.into())),
            Self::Binary(file, _) => {
                let mut id = [0];
                Ok((file.read(&mut id)? == 1).then(|| id[0].into()))
            }
            Self::Text(lines) => lines.id(),
        }
    }

    fn too_few(&self, found: u64, expected: &str) -> anyhow::Error {
        match self {
            Self::Rows => too_few(Path::new("rows"), found, expected),
            Self::Binary(_, path) => too_few(path, found, expected),
            Self::Text(lines) => too_few(lines.path(), found, expected),
        }
    }
}

impl Column {
    /// Vectors of a name, for all points or for those of the ids in `only`.
    pub(crate) fn open(name: &str, path: &Path, only: Option<&Path>) -> anyhow::Result<Self> {
        let file = VectorFile::open(path)?;
        let only = match only {
            Some(path) => {
                let mut ids = Ids::open(Some(path))?;
                let next = ids.next(0)?;
                Some(Only { ids, next, path: path.to_owned() })
            }
            None => None,
        };
        let (rows, row) = (file.rows(0)?, vec![0; file.row_bytes()]);
        Ok(Self { name: name.to_owned(), file, rows, row, wants_direction: false, only })
    }

    /// Whether every point has one of its vectors.
    pub(crate) fn is_dense(&self) -> bool {
        self.only.is_none()
    }

    /// The vector of a point, if it has one.
    fn vector(&mut self, id: PointId) -> anyhow::Result<Option<Vector>> {
        if let Some(only) = &mut self.only {
            if only.next != Some(id) {
                return Ok(None);
            }
            only.next = only.ids.next(0)?;
        }
        let at = self.rows.position();
        if self.rows.read(&mut self.row)? == 0 {
            return Err(too_few(self.file.path(), at, "a vector for each id of it"));
        }
        source::check_rows(&self.file, &self.row, at, self.wants_direction)?;
        Ok(Some(db::vector(self.file.element(), &self.row)))
    }

    /// Fails if there are more vectors or ids than belong to points.
    fn check_end(&self) -> anyhow::Result<()> {
        if let Some((id, path)) = self.only.as_ref().and_then(|only| Some((only.next?, only.path.display())))
        {
            let expected = "ids of points, in the order of all ids";
            return Err(exit::bad_input(format!("{path}: found id {id}; expected {expected}")));
        }
        let (found, used, path) = (self.file.count(), self.rows.position(), self.file.path().display());
        if used < found {
            return Err(exit::bad_input(format!(
                "{path}: found {found} vectors; expected {used}, one for each id"
            )));
        }
        Ok(())
    }
}

fn check_count(path: &Path, what: &str, found: u64, expected: Option<u64>) -> anyhow::Result<()> {
    match expected {
        Some(expected) if expected != found => {
            let path = path.display();
            Err(exit::bad_input(format!(
                "{path}: found {found} {what}; expected {expected}, one for each vector"
            )))
        }
        _ => Ok(()),
    }
}

fn too_few(path: &Path, found: u64, expected: &str) -> anyhow::Error {
    exit::bad_input(format!("{}: found {found} lines; expected {expected}", path.display()))
}
