//! Checking every byte of an index.

use std::path::Path;
use std::sync::Arc;

use nearline_storage::{Disk, Extent, ExtentFile, IoMode, LockMode, OsDisk, ReadRange, StorageError};

use crate::directory::Directory;
use crate::error::{IndexError, Result};
use crate::manifest::{FileRole, MANIFEST, Manifest};
use crate::posting::{Codec, Posting};
use crate::rows::{RowLayout, RowPage};
use crate::search::{Index, OpenOptions};
use crate::vector::RowId;

/// Something wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What is wrong, and where.
    pub message: String,
}

/// What a check of an index found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Extents checked.
    pub extents: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong; nothing in a sound index.
    pub problems: Vec<Problem>,
}

/// Reads all of the index in `dir` and checks every checksum, length and reference.
///
/// `progress` is told each file's name and bytes as they are checked.
///
/// # Errors
/// When there is no index, its manifest cannot be read, or a build holds the folder; damage elsewhere is reported.
pub fn verify(dir: &Path, io: IoMode, progress: &mut dyn FnMut(&str, u64)) -> Result<VerifyReport> {
    if !dir.is_dir() {
        let found = if dir.exists() { "a file, not a folder" } else { "no such folder" }.to_owned();
        return Err(IndexError::NotAnIndex { dir: dir.to_owned(), found });
    }
    verify_on(Arc::new(OsDisk::new(dir, io)?), progress)
}

/// As [`verify`], of the index in the folder that `disk` is.
///
/// # Errors
/// As [`verify`].
pub fn verify_on(disk: Arc<dyn Disk>, progress: &mut dyn FnMut(&str, u64)) -> Result<VerifyReport> {
    verify_with(disk, None, progress)
}

/// As [`verify_on`], of an index that does not keep the vectors: hands over the row of each, once for every list that it is
/// a primary of, for whoever knows which there should be.
///
/// # Errors
/// As [`verify_on`].
pub fn verify_outside(
    disk: Arc<dyn Disk>,
    rows: &mut dyn FnMut(RowId),
    progress: &mut dyn FnMut(&str, u64),
) -> Result<VerifyReport> {
    verify_with(disk, Some(rows), progress)
}

fn verify_with(
    disk: Arc<dyn Disk>,
    mut outside: Option<&mut dyn FnMut(RowId)>,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<VerifyReport> {
    // The manifest first: a folder that is no index gets no lock file. Again under the lock: now it stays.
    Manifest::read(disk.as_ref())?;
    let _lock = disk.lock(LockMode::Shared)?;
    let manifest = Manifest::read(disk.as_ref())?;
    let mut report = VerifyReport { files: 1, extents: 1, ..VerifyReport::default() };
    report.bytes += disk.open(MANIFEST)?.len()?;
    progress(MANIFEST, report.bytes);
    for listed in &manifest.files {
        let checked = check_file(disk.as_ref(), &manifest, listed.role, &mut report, &mut outside, progress);
        if let Err(error) = checked {
            report.problems.push(Problem { file: listed.name.clone(), message: error.to_string() });
        }
        report.files += 1;
    }
    if report.problems.is_empty() {
        check_references(disk, &manifest, &mut report);
    }
    Ok(report)
}

/// Checks all extents of a file. After the first that is damaged the rest cannot be walked.
fn check_file(
    disk: &dyn Disk,
    manifest: &Manifest,
    role: FileRole,
    report: &mut VerifyReport,
    outside: &mut Option<&mut dyn FnMut(RowId)>,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<()> {
    let file: ExtentFile = crate::search::open_file(disk, manifest, role)?;
    let name = manifest.file(role).map(|listed| listed.name.clone()).unwrap_or_default();
    // Where it is damaged itself, that is told in its turn.
    let directory = match role {
        FileRole::Postings => directory(disk, manifest, file.len()).unwrap_or_default(),
        _ => Directory::default(),
    };
    let mut extents = file.extents();
    let (mut count, mut entries, mut rows) = (0, 0u64, 0);
    while let Some((range, extent)) = extents.next()? {
        if role == FileRole::Postings {
            let posting = check_list(&extent, range, file.file().path(), count, manifest)?;
            match outside {
                Some(rows) => (0..posting.primaries).for_each(|entry| rows(RowId(posting.row(entry)))),
                None => check_entries(&posting, range, file.file().path(), manifest)?,
            }
            if let Some(place) = directory.places().get(count as usize) {
                place.check(range, &posting, file.file().path())?;
            }
        }
        if role == FileRole::Rows {
            rows += check_rows(&extent, range, file.file().path(), manifest)?;
        }
        entries += u64::from(extent.header.count);
        count += 1;
        report.extents += 1;
        report.bytes += range.bytes as u64;
        progress(&name, range.bytes as u64);
    }
    if role == FileRole::Postings && (count, entries) != (manifest.lists, manifest.entries) {
        let message = format!(
            "{count} lists, {entries} entries; the manifest says {}, {}",
            manifest.lists, manifest.entries
        );
        report.problems.push(Problem { file: name, message });
    } else if role == FileRole::Rows && rows != manifest.rows {
        let message = format!("{rows} rows; the manifest says {}", manifest.rows);
        report.problems.push(Problem { file: name, message });
    }
    Ok(())
}

fn directory(disk: &dyn Disk, manifest: &Manifest, postings: u64) -> Result<Directory> {
    let file = crate::search::open_file(disk, manifest, FileRole::Directory)?;
    Directory::read(&file, manifest.lists as usize, manifest.rows, postings)
}

/// Checks that a list is what a search expects of it.
fn check_list<'a>(
    extent: &Extent<'a>,
    range: ReadRange,
    file: &Path,
    list: u64,
    manifest: &Manifest,
) -> Result<Posting<'a>> {
    Ok(Posting::of(extent, range.offset, file, list, manifest.list_layout())?)
}

/// Checks that the rows and slots of a list exist.
fn check_entries(posting: &Posting<'_>, range: ReadRange, file: &Path, manifest: &Manifest) -> Result<()> {
    let raw = manifest.codec == Codec::Raw;
    for entry in 0..posting.entries {
        let slot = if raw { 0 } else { posting.slot(entry) };
        for (what, found) in [("row of an entry", posting.row(entry)), ("slot of an entry", slot)] {
            if u64::from(found) >= manifest.rows {
                let most = manifest.rows - 1;
                return Err(StorageError::corrupt(file, range.offset, what, found.into(), most).into());
            }
        }
    }
    Ok(())
}

/// Checks that rows are what a rerank expects of them; returns their number.
fn check_rows(extent: &Extent<'_>, range: ReadRange, file: &Path, manifest: &Manifest) -> Result<u64> {
    let layout = RowLayout::new(manifest.shape);
    let page = RowPage::of(extent, range.offset, file, layout, manifest.rows)?;
    for row in page.rows().as_chunks().0 {
        let row = u64::from(u32::from_le_bytes(*row));
        if row >= manifest.rows {
            let what = "row in the file of rows";
            return Err(StorageError::corrupt(file, range.offset, what, row, manifest.rows - 1).into());
        }
    }
    Ok(page.len() as u64)
}

/// Checks what files say of each other, by opening the index.
fn check_references(disk: Arc<dyn Disk>, manifest: &Manifest, report: &mut VerifyReport) {
    if let Err(error) = Index::open_on(disk, &OpenOptions::default()) {
        let file = manifest.file(FileRole::Directory).map(|listed| listed.name.clone()).unwrap_or_default();
        report.problems.push(Problem { file, message: error.to_string() });
    }
}
