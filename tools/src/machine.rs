//! What the system says of this process and of its disks.

use std::path::Path;

/// Bytes moved to and from storage by this process, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessIo {
    /// From storage, past the page cache or into it.
    pub(crate) read_bytes: u64,
    /// Towards storage, sooner or later.
    pub(crate) write_bytes: u64,
    /// By calls of read, wherever the bytes came from.
    pub(crate) read_calls_bytes: u64,
    /// By calls of write.
    pub(crate) write_calls_bytes: u64,
}

/// The largest resident size so far, in bytes; 0 where the system does not say.
pub(crate) fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmHWM:") * 1024
}

/// Bytes read from and written to storage so far; 0 where the system does not say.
pub(crate) fn process_io() -> ProcessIo {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    ProcessIo {
        read_bytes: field(&io, "read_bytes:"),
        write_bytes: field(&io, "write_bytes:"),
        read_calls_bytes: field(&io, "rchar:"),
        write_calls_bytes: field(&io, "wchar:"),
    }
}

/// The first number on the line that starts with `name`.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Bytes that this user may still write where `path` is or will be; `None` where the system does not say.
pub(crate) fn free_disk_bytes(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|ancestor| ancestor.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of the files in a folder, 0 if there is none.
pub(crate) fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// `threads`, or one a core for 0.
pub(crate) fn threads(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "VmPeak:\t  9 kB\nVmHWM:\t  1234 kB\nread_bytes: 77\n";
        assert_eq!((field(text, "VmHWM:"), field(text, "read_bytes:"), field(text, "x")), (1234, 77, 0));
    }

    #[test]
    fn disks_have_room_even_for_folders_to_come() {
        let free = free_disk_bytes(&std::env::temp_dir().join("not/there/yet"));
        assert!(free.is_some_and(|bytes| bytes > 0), "{free:?}");
        assert!(peak_rss_bytes() > 0);
    }
}
