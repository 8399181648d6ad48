//! What a crash left in the folder of a database, and nothing names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nearline_storage::{IoMode, OsDisk, StorageError, is_temp_name};

use super::spaces::space_folder_name;
use super::storage_snapshot::storage_draft;
use super::tables::table_folder_name;
use super::{folder_name, folders_in};
use crate::catalog::{CATALOG, Catalog};
use crate::collection::{orphans, snapshot_draft};
use crate::live_tier::SET_ASIDE;
use crate::manifest::Manifest;

/// All leftovers: folders, drafts of the catalog, and what is left in the folders of collections.
pub(super) fn list(root: &Path, catalog: &Catalog) -> Result<Vec<PathBuf>, StorageError> {
    let mut found = of_database(root, catalog)?;
    for entry in catalog.collections.values() {
        let folder = root.join(folder_name(entry.number));
        let disk = OsDisk::new(&folder, IoMode::Pread)?;
        // Of a collection whose manifest cannot be read, it is unknown what is left over.
        let Ok(manifest) = Manifest::read(&disk) else { continue };
        let names = orphans(&disk, &manifest, None)?;
        found.extend(names.into_iter().map(|name| folder.join(name)));
        let drafts = [snapshot_draft(&folder), folder.join(SET_ASIDE)];
        found.extend(drafts.into_iter().filter(|draft| draft.exists()));
    }
    Ok(found)
}

/// Removes what is left over in the folder itself; what is in those of collections goes when they are opened.
pub(super) fn remove(root: &Path, catalog: &Catalog) -> Result<(), StorageError> {
    of_database(root, catalog)?.iter().try_for_each(|path| remove_path(path))
}

/// Removes a file or a folder.
pub(super) fn remove_path(path: &Path) -> Result<(), StorageError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| StorageError::io(path, "remove", error))
}

fn of_database(root: &Path, catalog: &Catalog) -> Result<Vec<PathBuf>, StorageError> {
    let collections = catalog.collections.values().map(|entry| folder_name(entry.number));
    let spaces = catalog.spaces.values().map(|entry| space_folder_name(entry.number));
    let tables = catalog.tables.values().map(|entry| table_folder_name(entry.number));
    let known: BTreeSet<String> = collections.chain(spaces).chain(tables).collect();
    let mut found: Vec<PathBuf> =
        folders_in(root)?.difference(&known).map(|folder| root.join(folder)).collect();
    let failed = |error| StorageError::io(root, "list", error);
    for entry in fs::read_dir(root).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let draft = name.to_str().filter(|name| is_temp_name(name) && name.starts_with(CATALOG));
        found.extend(draft.map(|draft| root.join(draft)));
    }
    found.extend(Some(storage_draft(root)).filter(|draft| draft.exists()));
    Ok(found)
}
