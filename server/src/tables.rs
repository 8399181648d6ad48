//! Embedding tables that were asked for, and versions of them that clients want to go on reading.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearline::{Database, EmbeddingTable, OpenError, TableVersion};

use crate::error::ApiError;
use crate::kept::Kept;

/// Versions of a table that are kept at a time: each may be a copy of what is in memory.
const PINS: usize = 4;

/// Open tables, by name.
#[derive(Debug, Default)]
pub(crate) struct Tables(Kept<Arc<Open>>);

#[derive(Debug)]
struct Open {
    table: EmbeddingTable,
    pins: Mutex<BTreeMap<u64, TableVersion>>,
}

impl Open {
    fn pins(&self) -> MutexGuard<'_, BTreeMap<u64, TableVersion>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// A table, kept open until it is dropped.
    pub(crate) fn get(&self, database: &Database, name: &str) -> Result<EmbeddingTable, ApiError> {
        let open = || database.embedding_table(name).map(|table| Open { table, pins: Mutex::default() });
        Ok(self.0.get(name, || open().map(Arc::new))?.table.clone())
    }

    /// All that are open.
    pub(crate) fn all(&self) -> Vec<(String, EmbeddingTable)> {
        self.0.all().into_iter().map(|(name, open)| (name, open.table.clone())).collect()
    }

    /// Drops a table; false if there is none.
    pub(crate) fn drop_table(&self, database: &Database, name: &str) -> Result<bool, ApiError> {
        match self.0.drop_by(name, || database.drop_embedding_table(name)) {
            Ok(()) => Ok(true),
            Err(OpenError::Missing { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A version: the one of now, or the one of a number, which is that or pinned.
    pub(crate) fn version(
        &self,
        table: &EmbeddingTable,
        name: &str,
        number: Option<u64>,
    ) -> Result<TableVersion, ApiError> {
        let now = table.pin();
        match number {
            None => Ok(now),
            Some(number) if number == now.number() => Ok(now),
            Some(number) => {
                let pinned = self.0.known(name).and_then(|open| open.pins().get(&number).cloned());
                pinned.ok_or_else(|| {
                    let now = now.number();
                    ApiError::conflict(format_args!(
                        "version {number} of table `{name}` is not kept; the one of now is {now}: pin it before it is to be read again"
                    ))
                })
            }
        }
    }

    /// Keeps the version of now; gives its number.
    pub(crate) fn pin(&self, table: &EmbeddingTable, name: &str) -> Result<u64, ApiError> {
        let version = table.pin();
        let Some(open) = self.0.known(name) else {
            return Err(ApiError::not_found(format_args!("embedding table `{name}` doesn't exist!")));
        };
        let (number, mut pins) = (version.number(), open.pins());
        if !pins.contains_key(&number) && pins.len() >= PINS {
            let kept: Vec<String> = pins.keys().map(u64::to_string).collect();
            return Err(ApiError::conflict(format_args!(
                "{PINS} versions of table `{name}` are kept already ({}): let go of one",
                kept.join(", ")
            )));
        }
        pins.insert(number, version);
        Ok(number)
    }

    /// The numbers of the versions that are kept.
    pub(crate) fn pins(&self, name: &str) -> Vec<u64> {
        self.0.known(name).map_or_else(Vec::new, |open| open.pins().keys().copied().collect())
    }

    /// Lets go of a version; false if it was not kept.
    pub(crate) fn unpin(&self, name: &str, number: u64) -> bool {
        self.0.known(name).is_some_and(|open| open.pins().remove(&number).is_some())
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}
