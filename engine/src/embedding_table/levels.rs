//! A table of levels (BitStack): all of them in the file, the first of them in memory.

use std::sync::Arc;

use nearline_index::embedding::{Dtype, Method, Segment, Segments, Table, open};
use nearline_storage::{ReadRange, StorageError};

use super::error::TableError;
use super::file::{Head, TableFile, TableFileWriter};

/// The segment that says how many levels are in memory, if not all are.
const ACTIVE: &str = "active";

/// Levels in memory, and where the others are.
#[derive(Clone)]
pub(super) struct Levels {
    pub(super) table: Arc<dyn Table>,
    file: Arc<TableFile>,
}

impl Levels {
    /// Reads as many levels as the file says.
    pub(super) fn load(file: Arc<TableFile>) -> Result<Self, TableError> {
        let active = file.segments_named(|name| name == ACTIVE)?;
        let active = active.first().and_then(|segment| segment.bytes.first_chunk());
        let active = active.map_or_else(|| stored(&file), |bytes| u64::from(u32::from_le_bytes(*bytes)));
        Self::with(file, active)
    }

    /// The first `active` levels.
    pub(super) fn with(file: Arc<TableFile>, active: u64) -> Result<Self, TableError> {
        let Head { rows, dim, params, .. } = &file.head;
        let number = |name: &str| {
            let digits = name.strip_prefix("level").or_else(|| name.strip_prefix("basis"))?;
            digits.parse::<u64>().ok()
        };
        let segments = file.segments_named(|name| number(name).is_some_and(|number| number < active))?;
        let mut params = params.clone();
        if let Some(levels) = params.get_mut(1) {
            *levels = active;
        }
        let table = open(Method::BitStack, *rows, *dim, &params, Segments(&segments))?;
        Ok(Self { table: table.into(), file })
    }

    /// The same file with another number of levels in memory.
    pub(super) fn resized(&self, active: u64) -> Result<Self, TableError> {
        Self::with(Arc::clone(&self.file), active)
    }

    /// Refuses a number of levels that there are not.
    pub(super) fn check(&self, active: u64) -> Result<(), TableError> {
        let stored = stored(&self.file);
        if (1..=stored).contains(&active) {
            return Ok(());
        }
        Err(TableError::bad("levels", active, format!("1 to {stored}, which were fitted")))
    }

    /// All levels to another file, and how many of them are in memory.
    pub(super) fn write(&self, mut out: TableFileWriter) -> Result<ReadRange, StorageError> {
        for segment in self.file.segments_named(|name| name != ACTIVE)? {
            out.segment(&segment)?;
        }
        let active = self.table.params().get(1).map_or(0, |&levels| levels as u32);
        let bytes = active.to_le_bytes().to_vec().into();
        out.segment(&Segment { name: ACTIVE.into(), dtype: Dtype::U32, width: 1, bytes })?;
        out.finish(&self.file.head)
    }
}

/// Levels in a file.
fn stored(file: &TableFile) -> u64 {
    file.head.params.get(1).copied().unwrap_or(0)
}
