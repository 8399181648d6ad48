//! Replacing a small file as a whole: a crash leaves the old bytes or the new ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::disk::Disk;
use crate::error::{Result, StorageError};

const TEMP_SUFFIX: &str = ".tmp";

/// Makes `bytes` the content of the file `name`, whether it existed or not.
///
/// The bytes go to a temporary file that is synced, renamed over `name`, and made durable with the folder. The
/// temporary name is used once only: after a crash, a rename that survived late must not find the bytes of another
/// attempt under a name it knows. Leftovers are recognised by [`is_temp_name`] and may be removed when the folder
/// is opened exclusively.
///
/// # Errors
/// If any step fails. The file then holds the old bytes, or, if only the last step failed, the new ones.
pub fn replace_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
    let temp = replacement_name(name);
    let renamed = write_synced(disk, &temp, bytes).and_then(|()| disk.rename(&temp, name));
    if let Err(error) = renamed {
        // The first error is the one to tell; a leftover is cleaned up at the next start.
        let _ = disk.remove(&temp);
        return Err(error);
    }
    disk.sync_dir()
}

/// Whether a file is a leftover of [`replace_file`].
pub fn is_temp_name(name: &str) -> bool {
    name.ends_with(TEMP_SUFFIX)
}

fn write_synced(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
    let file = disk.create(name)?;
    file.write_at(0, bytes)?;
    file.sync()
}

/// A name for what is to replace a file, never used before: process, a counter in it, and the time since process ids come
/// round again.
pub fn replacement_name(name: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{name}.{:x}-{count:x}-{nanos:x}{TEMP_SUFFIX}", std::process::id())
}

/// Refuses names that would leave the folder.
pub(crate) fn check_name(disk: &dyn Disk, name: &str) -> Result<()> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if plain {
        return Ok(());
    }
    let source =
        std::io::Error::new(std::io::ErrorKind::InvalidInput, "a file name without separators is needed");
    Err(StorageError::io(&disk.root().join(name), "name a file", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_used_once() {
        let names: std::collections::BTreeSet<String> =
            (0..1000).map(|_| replacement_name("MANIFEST")).collect();
        assert_eq!(names.len(), 1000);
        assert!(names.iter().all(|name| is_temp_name(name)));
        assert!(!is_temp_name("MANIFEST"));
    }
}
