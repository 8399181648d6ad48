//! Taking over an index that keeps its vectors, by somebody who keeps rows outside of indexes.
//!
//! The slots of vectors become their rows. So files stay as they are: the file of rows is one of vectors by row, and of
//! entries the slot counts instead of the row they name. Only the manifest is written anew, without ids and rows.

use std::sync::Arc;

use nearline_storage::{Disk, ExtentFile, FolderLock, LockMode, ReadRange, StorageError};

use crate::error::{IndexError, Result};
use crate::ids::{PAGE_IDS, ids_of};
use crate::manifest::{FileRole, MANIFEST, Manifest};
use crate::metric::Metric;
use crate::posting::{Body, Codec, Posting};
use crate::rows::{RowLayout, RowPage};
use crate::search::open_file;
use crate::vector::{RowId, Shape};

/// An index that is to be taken over. It is not changed.
#[derive(Debug)]
pub struct Adoption {
    disk: Arc<dyn Disk>,
    manifest: Manifest,
    _lock: Option<FolderLock>,
}

/// The file of an index that has its vectors by slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFile {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub file_id: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Takes a row and its vector.
type Keep<'a, E> = dyn FnMut(u32, &[u8]) -> Result<(), E> + 'a;

impl Adoption {
    /// Whether a folder has an index: it has its manifest.
    pub fn is_in(folder: &std::path::Path) -> bool {
        folder.join(MANIFEST).is_file()
    }

    /// Looks at the index in the folder that `disk` is, and keeps builds out of it; not if the folder `is_locked` by the
    /// caller.
    ///
    /// # Errors
    /// When there is none, it is damaged, a build holds it, or it does not have the vectors.
    pub fn new(disk: Arc<dyn Disk>, is_locked: bool) -> Result<Self> {
        Manifest::read(disk.as_ref())?;
        let lock = if is_locked { None } else { Some(disk.lock(LockMode::Shared)?) };
        let manifest = Manifest::read(disk.as_ref())?;
        if manifest.codec != Codec::Raw && manifest.file(FileRole::Rows).is_none() {
            let name = disk.root().display().to_string();
            let found = format!("an index of codes ({}) without the vectors themselves", manifest.codec);
            let expected = "one that was built without no-rerank, which can be changed";
            return Err(IndexError::input(name, found, expected));
        }
        Ok(Self { disk, manifest, _lock: lock })
    }

    /// The shape of its vectors.
    pub fn shape(&self) -> Shape {
        self.manifest.shape
    }

    /// How distances are measured.
    pub fn metric(&self) -> Metric {
        self.manifest.metric
    }

    /// Vectors in it.
    pub fn rows(&self) -> u64 {
        self.manifest.rows
    }

    /// The file with the vectors by slot; `None` where they are in the lists.
    pub fn slot_file(&self) -> Option<SlotFile> {
        let listed = self.manifest.file(FileRole::Rows)?;
        Some(SlotFile { name: listed.name.clone(), file_id: listed.file_id, bytes: listed.bytes })
    }

    /// The names of the files that belong to the index when somebody else has ids and vectors.
    pub fn list_files(&self) -> impl Iterator<Item = &str> {
        let is_outside = |role| matches!(role, FileRole::Ids | FileRole::Rows);
        self.manifest.files.iter().filter(move |file| !is_outside(file.role)).map(|file| file.name.as_str())
    }

    /// The names of all its files, the one that makes it an index first.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        std::iter::once(MANIFEST).chain(self.manifest.files.iter().map(|file| file.name.as_str()))
    }

    /// Writes the manifest of an index of the [`Adoption::list_files`] whose rows are the slots.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn publish(&self, disk: &dyn Disk) -> Result<()> {
        let is_outside = |role| matches!(role, FileRole::Ids | FileRole::Rows);
        let mut manifest = Manifest { by_slot: true, ..self.manifest.clone() };
        manifest.files.retain(|file| !is_outside(file.role));
        manifest.publish(disk)
    }

    /// Hands over the row of each slot, as the input of the build had it, in order of slots.
    ///
    /// # Errors
    /// When a file cannot be read or is damaged, or `keep` fails.
    pub fn for_each_slot<E: From<IndexError>>(
        &self,
        mut keep: impl FnMut(RowId, RowId) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut slots = 0..;
        let mut keep = |row: u32, _: &[u8]| slots.next().map_or(Ok(()), |slot| keep(RowId(slot), RowId(row)));
        if self.manifest.codec == Codec::Raw { self.walk_lists(&mut keep) } else { self.walk_rows(&mut keep) }
    }

    /// Hands over the vectors of an index of raw lists in the order of [`Adoption::for_each_slot`].
    ///
    /// # Errors
    /// As there.
    pub fn for_each_vector<E: From<IndexError>>(
        &self,
        mut keep: impl FnMut(RowId, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut slots = 0..;
        self.walk_lists(&mut |_, vector| slots.next().map_or(Ok(()), |slot| keep(RowId(slot), vector)))
    }

    /// The ids of all rows in the order of the build's input, if they are not the numbers of the rows.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn ids(&self) -> Result<Option<impl Iterator<Item = Result<u64>>>> {
        let Some(_) = self.manifest.file(FileRole::Ids) else { return Ok(None) };
        let file = open_file(self.disk.as_ref(), &self.manifest, FileRole::Ids)?;
        let rows = self.manifest.rows as usize;
        let mut page = Vec::new();
        let id = move |row: usize| {
            if row.is_multiple_of(PAGE_IDS) {
                page = ids_of(&file, row / PAGE_IDS)?;
            }
            let missing = || {
                let (path, found) = (file.file().path(), page.len() as u64);
                StorageError::corrupt(path, 0, "ids of a page", found, (row % PAGE_IDS) as u64 + 1)
            };
            Ok(page.get(row % PAGE_IDS).copied().ok_or_else(missing)?)
        };
        Ok(Some((0..rows).map(id)))
    }

    fn walk_rows<E: From<IndexError>>(&self, keep: &mut Keep<'_, E>) -> Result<(), E> {
        let file = self.open(FileRole::Rows)?;
        let (layout, mut extents) = (RowLayout::new(self.manifest.shape), file.extents());
        let mut count = 0;
        while let Some((range, extent)) = extents.next().map_err(IndexError::from)? {
            let page = RowPage::of(&extent, range.offset, file.file().path(), layout, self.manifest.rows)
                .map_err(IndexError::from)?;
            for (row, vector) in (0..page.len()).filter_map(|at| page.get(at)) {
                self.check_row(&file, range, row)?;
                keep(row, vector)?;
            }
            count += page.len() as u64;
        }
        Ok(self.check_count(&file, count)?)
    }

    fn walk_lists<E: From<IndexError>>(&self, keep: &mut Keep<'_, E>) -> Result<(), E> {
        let file = self.open(FileRole::Postings)?;
        let (layout, bytes) = (self.manifest.list_layout(), self.manifest.shape.row_bytes());
        let (mut extents, mut list, mut count) = (file.extents(), 0, 0);
        while let Some((range, extent)) = extents.next().map_err(IndexError::from)? {
            let posting = Posting::of(&extent, range.offset, file.file().path(), list, layout)
                .map_err(IndexError::from)?;
            let Body::Raw { vectors, .. } = posting.body else { break };
            for (entry, vector) in vectors.chunks_exact(bytes).take(posting.primaries).enumerate() {
                self.check_row(&file, range, posting.row(entry))?;
                keep(posting.row(entry), vector)?;
            }
            list += 1;
            count += posting.primaries as u64;
        }
        Ok(self.check_count(&file, count)?)
    }

    fn open(&self, role: FileRole) -> Result<ExtentFile> {
        open_file(self.disk.as_ref(), &self.manifest, role)
    }

    fn check_row(&self, file: &ExtentFile, range: ReadRange, row: u32) -> Result<()> {
        if u64::from(row) < self.manifest.rows {
            return Ok(());
        }
        let (path, most) = (file.file().path(), self.manifest.rows - 1);
        Err(StorageError::corrupt(path, range.offset, "row of a vector", row.into(), most).into())
    }

    fn check_count(&self, file: &ExtentFile, found: u64) -> Result<()> {
        if found == self.manifest.rows {
            return Ok(());
        }
        let path = file.file().path();
        Err(StorageError::corrupt(path, 0, "vectors of an index", found, self.manifest.rows).into())
    }
}
