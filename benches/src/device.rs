//! What a disk gives: random pages of a file, past the page cache.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nearline_storage::{Disk, IoMode, OsDisk, PAGE, ReadRange, Window};

use crate::data::mixed;

/// How long each depth is measured.
const MEASURED: Duration = Duration::from_secs(2);

/// Random pages of a file a second, so many being asked for at a time.
///
/// # Errors
/// When the file cannot be read, or has no page.
pub fn reads_a_second(file: &Path, depth: usize) -> Result<f64> {
    let name = file.file_name().and_then(|name| name.to_str()).context("a path of a file")?;
    let pages = std::fs::metadata(file)?.len() / PAGE as u64;
    ensure!(pages > 0, "{}: smaller than a page", file.display());
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = OsDisk::new(folder, IoMode::from_env())?;
    let mut reader = disk.batch_reader(&[name], Window { reads: depth, bytes: depth * PAGE })?;
    let mut places = (0..).map(|i| mixed(i) % pages * PAGE as u64);
    let mut range = move || ReadRange { offset: places.next().unwrap_or(0), bytes: PAGE };
    let (mut next, mut done, start) = (range(), 0_u64, Instant::now());
    while start.elapsed() < MEASURED {
        while reader.has_room(next) {
            reader.submit(0, 0, next)?;
            next = range();
        }
        done += u64::from(reader.wait()?.is_some());
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_those_without_a_page_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pages");
        std::fs::write(&file, vec![1; 8 * PAGE]).unwrap();
        assert!(reads_a_second(&file, 4).unwrap() > 0.0);
        std::fs::write(&file, [1]).unwrap();
        assert!(reads_a_second(&file, 4).unwrap_err().to_string().contains("smaller than a page"));
        assert!(reads_a_second(&folder.path().join("none"), 4).is_err());
    }
}
