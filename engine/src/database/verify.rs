//! Reading all of a database and checking that it agrees with itself.

use std::path::PathBuf;

use nearline_storage::Disk;

use super::storage_snapshot::verify_storage;
use super::{Database, DatabaseBuilder, leftovers, locked};
use crate::collection::{Collection, snapshot_folder};
use crate::error::OpenError;

/// What is wrong with a collection or a snapshot.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// What is damaged: `collection`, `behaviour space`, `embedding table`, or `database` for a snapshot of all there is.
    pub what: &'static str,
    /// The name of the collection, behaviour space or embedding table; none if it is in a snapshot of all there is.
    pub collection: String,
    /// The name of the snapshot, if it is in one.
    pub snapshot: Option<String>,
    /// The first thing that is wrong.
    pub error: OpenError,
}

impl Damage {
    fn of(what: &'static str, collection: String, error: OpenError) -> Self {
        Self { what, collection, snapshot: None, error }
    }
}

/// What was found in a database.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DatabaseReport {
    /// Collections that were read.
    pub collections: u64,
    /// Their snapshots, and those of all there is.
    pub snapshots: u64,
    /// Behaviour spaces that were read.
    pub spaces: u64,
    /// Embedding tables that were read.
    pub tables: u64,
    /// Points of the collections that are sound.
    pub points: u64,
    /// Files and folders that a crash left and nothing names. They do no harm.
    pub leftovers: Vec<PathBuf>,
    /// Whether they were removed.
    pub repaired: bool,
    /// Collections whose field indexes were built anew.
    pub rebuilt: Vec<String>,
    /// What is wrong, at most one thing a collection or snapshot.
    pub damaged: Vec<Damage>,
}

impl DatabaseBuilder {
    /// Reads every file of the database that is there, or of one of its collections, and checks checksums and what must
    /// hold. Nobody else may have it open. With `repair`, leftovers of crashes are removed, as they are whenever a database
    /// is opened, damaged field indexes are built anew, and damaged questions forgotten. What points are made of never changes; but each collection's log
    /// goes on in a new file. `progress` is told which collection, of how many, comes next.
    ///
    /// # Errors
    /// When there is no such database or collection, it is in use, or its catalog cannot be read. What else is wrong is in
    /// the report.
    pub fn verify(
        mut self,
        collection: Option<&str>,
        repair: bool,
        progress: &mut dyn FnMut(&str, usize),
    ) -> Result<DatabaseReport, OpenError> {
        (self.creates, self.background, self.leaves_tier, self.keeps_leftovers) = (false, false, true, true);
        let mut database = self.clone().open()?;
        let names = match collection {
            Some(name) => vec![locked(&database.inner.catalog).resolve(name)?.0.to_owned()],
            None => database.collections(),
        };
        let mut report = DatabaseReport { repaired: repair, ..DatabaseReport::default() };
        report.leftovers = leftovers::list(database.inner.disk.root(), &locked(&database.inner.catalog))?;
        if repair {
            report.leftovers.iter().try_for_each(|path| leftovers::remove_path(path))?;
            drop(database);
            database = DatabaseBuilder { keeps_leftovers: false, ..self }.open()?;
        }
        for name in &names {
            progress(name, names.len());
            report.collections += 1;
            if let Err((snapshot, error)) = database.verify_collection(name, &mut report) {
                report.damaged.push(Damage { snapshot, ..Damage::of("collection", name.clone(), error) });
            }
        }
        let spaces = if collection.is_none() { database.behavior_spaces() } else { Vec::new() };
        for name in spaces {
            report.spaces += 1;
            let verified = database.behavior_space(&name).and_then(|space| Ok(space.inner.verify()?));
            if let Err(error) = verified {
                report.damaged.push(Damage::of("behaviour space", name, error));
            }
        }
        let tables = if collection.is_none() { database.embedding_tables() } else { Vec::new() };
        for name in tables {
            report.tables += 1;
            let verified = database.verify_embedding_table(&name);
            if let Err(error) = verified {
                report.damaged.push(Damage::of("embedding table", name, error));
            }
        }
        let snapshots = if collection.is_none() { database.storage_snapshots()? } else { Vec::new() };
        for name in snapshots {
            report.snapshots += 1;
            let verified = snapshot_folder(database.inner.disk.root(), &name);
            if let Err(error) = verified.and_then(|folder| verify_storage(&folder)) {
                report
                    .damaged
                    .push(Damage { snapshot: Some(name), ..Damage::of("database", String::new(), error) });
            }
        }
        Ok(report)
    }
}

impl Database {
    /// Verifies a collection, then its snapshots. Of what is wrong with a snapshot, the name comes along.
    fn verify_collection(
        &self,
        name: &str,
        report: &mut DatabaseReport,
    ) -> Result<(), (Option<String>, OpenError)> {
        let collection = self.collection(name).map_err(|error| (None, error))?;
        if let Err(error) = collection.verify() {
            // Only what is derived can be made anew.
            if !report.repaired || collection.verify_source().is_err() {
                return Err((None, error));
            }
            rebuild_derived(&collection).map_err(|error| (None, error))?;
            report.rebuilt.push(name.to_owned());
        }
        report.points += collection.shared.inner.state().live;
        for snapshot in collection.snapshots().map_err(|error| (None, error))? {
            report.snapshots += 1;
            collection.verify_snapshot(&snapshot).map_err(|error| (Some(snapshot), error))?;
        }
        Ok(())
    }
}

/// Makes anew what is derived, if something is wrong with it.
fn rebuild_derived(collection: &Collection) -> Result<(), OpenError> {
    // Questions that are damaged alone cost no index.
    collection.forget_damaged_questions()?;
    if collection.verify().is_ok() {
        return Ok(());
    }
    collection.rebuild_field_indexes()?;
    collection.rebuild_vector_indexes()?;
    collection.remove_tier()?;
    collection.remove_codes()?;
    collection.verify()
}
