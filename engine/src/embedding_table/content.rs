//! What a table is made of in memory: all of it, or the first rows and where the others are.

use std::borrow::Cow;
use std::sync::Arc;

use nearline_index::embedding::{
    Dtype, Dynamic, Method, Optimizer, Rule, Segment, Segments, Table, Train, open, open_codec, open_dynamic,
    open_trainable, train,
};
use nearline_storage::{ReadRange, StorageError};

use super::error::TableError;
use super::file::{Head, TableFile, TableFileWriter};
use super::levels::Levels;
use super::record::Write;
use super::remap::REMAP;
use super::row_store::RowStore;
use super::runs::{RunRows, open_whole};
use super::shared::{SharedRows, write_served};

/// Names of the optimizer's segments begin so.
const STATE: &str = "state";

/// The table as it is at one moment.
#[derive(Clone)]
pub(super) enum Content {
    /// Rows that stand alone.
    Rows(RowStore),
    /// Rows that stand alone, of which ids share some.
    Shared(SharedRows),
    /// Rows that are runs of values, of which some are in memory.
    Runs(RunRows),
    /// A table that does not change.
    Fixed(Arc<dyn Table>),
    /// A table in training.
    Trained(Box<dyn Train>, Optimizer),
    /// Rows that come and go.
    Dynamic(Box<Dynamic>),
    /// Levels, as many as there shall be.
    Levels(Levels),
}

impl Content {
    /// Reads what has to be in memory, and of rows as many as `resident_bytes` hold.
    pub(super) fn load(file: Arc<TableFile>, resident_bytes: u64) -> Result<Self, TableError> {
        let head = file.head.clone();
        if head.method == Method::BitStack {
            return Ok(Self::Levels(Levels::load(file)?));
        }
        let remap = file.remap()?;
        // The places of ids are the file's, not the method's.
        let segments = file.segments_named(|name| remap.is_none() || name != REMAP)?;
        if file.row_bytes() > 0 || remap.is_some() {
            if remap.is_none() && head.method.is_of_runs() {
                return Ok(match RunRows::load(&file, &segments, resident_bytes)? {
                    Some(runs) => Self::Runs(runs),
                    None => Self::Fixed(open_whole(&file, segments)?.into()),
                });
            }
            if remap.is_none()
                && let Some(shared) = SharedRows::load(&file, &segments, resident_bytes)?
            {
                return Ok(Self::Shared(shared));
            }
            let codec = open_codec(head.method, head.dim, &head.params, Segments(&segments))?;
            return Ok(Self::Rows(RowStore::load(file, codec, remap, resident_bytes)?));
        }
        if head.method == Method::Dynamic {
            return Ok(Self::Dynamic(Box::new(open_dynamic(head.dim, &head.params, Segments(&segments))?)));
        }
        let Some((rule, steps)) = head.training else {
            let table = open(head.method, head.rows, head.dim, &head.params, Segments(&segments))?;
            return Ok(Self::Fixed(table.into()));
        };
        let (state, own): (Vec<_>, Vec<_>) =
            segments.into_iter().partition(|segment| segment.name.starts_with(STATE));
        let table = open_trainable(head.method, head.rows, head.dim, &head.params, Segments(&own))?;
        let mut optimizer = Optimizer::new(rule, table.shapes())?;
        let state = state.iter().map(|segment| bytemuck::pod_collect_to_vec(&segment.bytes)).collect();
        optimizer.restore(state, steps)?;
        Ok(Self::Trained(table, optimizer))
    }

    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Rows(store) => store.rows,
            Self::Shared(shared) => shared.head().rows,
            Self::Runs(runs) => runs.head().rows,
            Self::Fixed(table) => table.rows(),
            Self::Trained(table, _) => table.rows(),
            Self::Dynamic(table) => table.own_rows(),
            Self::Levels(levels) => levels.table.rows(),
        }
    }

    /// Whether all of it is in memory, however much that is.
    pub(super) fn is_whole(&self) -> bool {
        !matches!(self, Self::Rows(_) | Self::Shared(_) | Self::Runs(_))
    }

    /// Whether ids come and go, so that writes have times.
    pub(super) fn is_dynamic(&self) -> bool {
        matches!(self, Self::Dynamic(_))
    }

    /// Ids that have rows of their own, sorted.
    pub(super) fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        // Of all others they are but counted: of a hashed table there may be more than memory holds.
        let (mut ids, rows) = match self {
            Self::Dynamic(table) => (table.ids().to_vec(), 0),
            _ => (Vec::new(), self.rows()),
        };
        ids.sort_unstable();
        ids.into_iter().chain(0..rows)
    }

    pub(super) fn dim(&self) -> usize {
        match self {
            Self::Rows(store) => store.hot.dim(),
            Self::Shared(shared) => shared.head().dim,
            Self::Runs(runs) => runs.head().dim,
            Self::Fixed(table) => table.dim(),
            Self::Trained(table, _) => table.dim(),
            Self::Dynamic(table) => table.dim(),
            Self::Levels(levels) => levels.table.dim(),
        }
    }

    /// Answers from the table itself; or, where some of its rows are on the disk, from one of the rows asked for, in which
    /// the first id is 0, the second 1.
    pub(super) fn ask(
        &self,
        ids: &[u64],
        answer: impl FnOnce(&dyn Table, &[u64]) -> nearline_index::Result<()>,
    ) -> Result<(), TableError> {
        match self {
            Self::Fixed(table) => Ok(answer(&**table, ids)?),
            Self::Trained(table, _) => Ok(answer(&**table, ids)?),
            Self::Dynamic(table) => Ok(answer(&**table, ids)?),
            Self::Levels(levels) => Ok(answer(&*levels.table, ids)?),
            Self::Rows(store) => store.ask(ids, answer),
            Self::Runs(runs) => runs.ask(ids, answer),
            Self::Shared(shared) => shared.ask(ids, answer),
        }
    }

    /// Takes a write in that is in the log and was checked.
    pub(super) fn apply(&mut self, write: &Write) -> Result<(), TableError> {
        match (self, write) {
            (Self::Rows(store), Write::Put { ids, values, .. }) => store.put(ids, values)?,
            (Self::Trained(table, optimizer), Write::Train { ids, gradients, .. }) => {
                train(&mut **table, ids, gradients, optimizer)?;
            }
            (Self::Dynamic(table), Write::Put { ids, values, at }) => {
                table.put(ids, values, at.unwrap_or(0))?;
            }
            (Self::Dynamic(table), Write::Train { ids, gradients, at }) => {
                table.train(ids, gradients, at.unwrap_or(0))?;
            }
            (Self::Dynamic(table), Write::Expire) => drop(table.expire()),
            (Self::Levels(levels), Write::Levels { active }) => *levels = levels.resized(*active)?,
            _ => {
                return Err(TableError::bad("write in the log", "one of another kind", "one of the table's"));
            }
        }
        Ok(())
    }

    /// Refuses rows for which there is no room. What is in a log was written when there was.
    pub(super) fn check_room(&self, write: &Write) -> Result<(), TableError> {
        match (self, write) {
            (Self::Dynamic(table), Write::Put { ids, .. }) if !table.has_room_for(ids) => {
                let (found, most) = (format!("{} ids", ids.len()), table.rules().rows_max);
                let expected =
                    format!("ids that have rows, or fit among {most}: expire some, or create it larger");
                Err(TableError::bad("rows to put", found, expected))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a write that could not be applied.
    pub(super) fn check(&self, write: &Write) -> Result<(), TableError> {
        let (name, ids, values) = match write {
            Write::Put { ids, values, .. } => ("rows to put", ids, values),
            Write::Train { ids, gradients, .. } => ("gradients", ids, gradients),
            Write::Levels { active } => {
                let Self::Levels(levels) = self else {
                    return Err(self.unsupported("have fewer or more levels", "fit it as bit-stack"));
                };
                return levels.check(*active);
            }
            Write::Expire if self.is_dynamic() => return Ok(()),
            Write::Expire => {
                return Err(self.unsupported("have rows expire", "create it with ids that come and go"));
            }
        };
        if let Self::Dynamic(table) = self {
            return Ok(table.check(name, ids, values)?);
        }
        match (self, write) {
            (Self::Rows(_), Write::Put { .. }) | (Self::Trained(..), Write::Train { .. }) => {}
            (_, Write::Put { .. }) => return Err(self.unsupported("put rows", "fit it anew, or train it")),
            _ => {
                return Err(self.unsupported("be trained", "put rows, or create it with an optimizer"));
            }
        }
        if let Some(at) = ids.iter().position(|&id| id >= self.rows()) {
            let found = format!("{} at place {at}", ids[at]);
            return Err(TableError::bad("ids", found, format!("ids below {}", self.rows())));
        }
        if values.len() != ids.len() * self.dim() {
            let expected = format!("{} for each of {} ids", self.dim(), ids.len());
            return Err(TableError::bad(name, format!("{} values", values.len()), expected));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let found = format!("{} at element {} of row {}", values[at], at % self.dim(), at / self.dim());
            return Err(TableError::bad(name, found, "finite values"));
        }
        Ok(())
    }

    fn unsupported(&self, what: &'static str, fix: &'static str) -> TableError {
        let method = match self {
            Self::Rows(store) => store.hot.method(),
            Self::Shared(shared) => shared.head().method,
            Self::Runs(runs) => runs.head().method,
            Self::Fixed(table) => table.method(),
            Self::Trained(table, _) => table.method(),
            Self::Dynamic(table) => table.method(),
            Self::Levels(levels) => levels.table.method(),
        };
        TableError::Unsupported { method: format!("{method:?}"), what, fix }
    }

    /// Writes all of it to a new file.
    pub(super) fn write(&self, mut out: TableFileWriter) -> Result<ReadRange, StorageError> {
        match self {
            Self::Rows(store) => {
                store.write(&mut out)?;
                let codec = store.hot.codec();
                for segment in codec.shared() {
                    out.segment(&segment)?;
                }
                let (method, params) = (codec.method(), codec.params());
                out.finish(&Head { method, rows: store.rows, dim: codec.dim(), params, training: None })
            }
            Self::Shared(shared) => shared.write(out),
            Self::Runs(runs) => runs.write(out),
            Self::Fixed(table) => {
                write_served(&mut out, &**table)?;
                out.finish(&head_of(&**table, None))
            }
            Self::Trained(table, optimizer) => {
                write_segments(&mut out, &**table)?;
                for (number, state) in optimizer.state().iter().enumerate() {
                    let bytes = bytemuck::cast_slice(state).into();
                    let name = format!("{STATE}{number}").into();
                    out.segment(&Segment { name, dtype: Dtype::F32, width: 1, bytes })?;
                }
                out.finish(&head_of(&**table, Some((optimizer.rule(), optimizer.steps()))))
            }
            Self::Levels(levels) => levels.write(out),
            Self::Dynamic(table) => {
                write_segments(&mut out, &**table)?;
                out.finish(&Head { rows: table.own_rows(), ..head_of(&**table, None) })
            }
        }
    }

    /// What a lookup needs, by segment.
    pub(super) fn bytes(&self) -> Vec<(String, u64)> {
        match self {
            Self::Rows(store) => {
                let rows = store.rows * store.hot.codec().row_bytes() as u64;
                let shared = store.hot.codec().shared();
                let shared = shared.iter().map(|one| (one.name.to_string(), one.bytes.len() as u64));
                let remap = (REMAP.to_owned(), store.remap_bytes());
                let remap = Some(remap).filter(|(_, bytes)| *bytes > 0);
                std::iter::once(("rows".to_owned(), rows)).chain(remap).chain(shared).collect()
            }
            Self::Shared(shared) => shared.bytes(),
            Self::Runs(runs) => runs.bytes(),
            Self::Fixed(table) => table.bytes().segments,
            Self::Trained(table, _) => table.bytes().segments,
            Self::Dynamic(table) => table.bytes().segments,
            Self::Levels(levels) => levels.table.bytes().segments,
        }
    }

    /// All that is stored, but for what an optimizer remembers.
    pub(super) fn segments(&self) -> Result<Vec<Segment<'static>>, TableError> {
        let owned = |segment: Segment<'_>| Segment {
            name: Cow::Owned(segment.name.into_owned()),
            bytes: Cow::Owned(segment.bytes.into_owned()),
            ..segment
        };
        match self {
            Self::Shared(shared) => shared.segments(),
            Self::Runs(runs) => runs.segments(),
            Self::Fixed(table) => Ok(table.segments().into_iter().map(owned).collect()),
            Self::Trained(table, _) => Ok(table.segments().into_iter().map(owned).collect()),
            Self::Dynamic(table) => Ok(table.segments().into_iter().map(owned).collect()),
            Self::Levels(levels) => Ok(levels.table.segments().into_iter().map(owned).collect()),
            Self::Rows(store) => {
                let ids: Vec<u64> = (0..store.rows).collect();
                let whole = store.gather(&ids)?;
                Ok(whole.segments().into_iter().map(owned).collect())
            }
        }
    }

    /// Method, and parameters that say how.
    pub(super) fn method(&self) -> (Method, Vec<u64>) {
        match self {
            Self::Rows(store) => (store.hot.method(), store.hot.params()),
            Self::Shared(shared) => (shared.head().method, shared.head().params.clone()),
            Self::Runs(runs) => (runs.head().method, runs.head().params.clone()),
            Self::Fixed(table) => (table.method(), table.params()),
            Self::Trained(table, _) => (table.method(), table.params()),
            Self::Dynamic(table) => (table.method(), table.params()),
            Self::Levels(levels) => (levels.table.method(), levels.table.params()),
        }
    }

    /// Reads of rows since the file was opened, and their bytes.
    pub(super) fn reads(&self) -> (u64, u64) {
        match self {
            Self::Rows(store) => store.file.reads(),
            Self::Shared(shared) => shared.store.file.reads(),
            Self::Runs(runs) => runs.file.reads(),
            _ => (0, 0),
        }
    }

    /// Rows in memory, and those that were changed since the file was written.
    pub(super) fn resident(&self) -> (u64, u64) {
        match self {
            Self::Rows(store) => (store.hot.rows(), store.changed.len() as u64),
            Self::Shared(shared) => (shared.store.hot.rows(), 0),
            Self::Runs(runs) => (runs.resident(), 0),
            _ => (self.rows(), 0),
        }
    }
}

/// What the directory of a file says of a table.
pub(super) fn head_of(table: &dyn Table, training: Option<(Rule, u64)>) -> Head {
    Head { method: table.method(), rows: table.rows(), dim: table.dim(), params: table.params(), training }
}

/// Writes the segments of a table; rows that stand alone as such, unless the table is in training.
pub(super) fn write_segments(out: &mut TableFileWriter, table: &dyn Table) -> Result<(), StorageError> {
    table.segments().iter().try_for_each(|segment| match &*segment.name {
        "rows" => out.rows(segment.width, &segment.bytes),
        _ => out.segment(segment),
    })
}
