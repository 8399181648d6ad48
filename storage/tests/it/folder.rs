//! `OsDisk` as a folder: names, locks, lengths.

use std::process::{Command, Stdio};

use nearline_storage::{Disk, IoMode, LockMode, OsDisk, StorageError};

use crate::folder;

#[test]
fn files_are_created_listed_renamed_and_removed() {
    let dir = folder();
    let disk = OsDisk::create_dir(&dir.path().join("a/b"), IoMode::Pread).unwrap();
    let file = disk.create("two").unwrap();
    assert!(matches!(disk.create("two"), Err(StorageError::Exists { .. })));
    file.write_at(5, b"xyz").unwrap();
    file.sync().unwrap();
    file.drop_cache().unwrap();
    assert_eq!(file.len().unwrap(), 8);
    disk.create("one").unwrap();
    std::fs::create_dir(disk.root().join("folder")).unwrap();
    assert_eq!(disk.list().unwrap(), ["one", "two"]);

    disk.rename("two", "one").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.list().unwrap(), ["one"]);
    let mut bytes = [9; 8];
    disk.open("one").unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0\0\0\0xyz");

    let file = disk.open_rw("one").unwrap();
    file.set_len(2).unwrap();
    let error = file.read_at(1, &mut [0; 4]).unwrap_err();
    assert!(matches!(error, StorageError::UnexpectedEnd { offset: 2, wanted: 3, len: 2, .. }), "{error}");
    disk.remove("one").unwrap();
    assert!(matches!(disk.open("one"), Err(StorageError::NotFound { .. })));
    assert!(matches!(disk.remove("one"), Err(StorageError::NotFound { .. })));
    assert!(matches!(disk.rename("one", "two"), Err(StorageError::NotFound { .. })));
}

#[test]
fn names_cannot_leave_the_folder() {
    let dir = folder();
    let disk = OsDisk::new(dir.path(), IoMode::Pread).unwrap();
    for name in ["", ".", "..", "a/b", "../a", "/etc/passwd", "a\0b"] {
        assert!(disk.create(name).is_err() && disk.open(name).is_err(), "{name:?}");
        assert!(disk.rename("x", name).is_err() && disk.remove(name).is_err(), "{name:?}");
    }
    let missing = OsDisk::new(&dir.path().join("missing"), IoMode::Auto);
    assert!(matches!(missing, Err(StorageError::NotFound { .. })));
    std::fs::write(dir.path().join("file"), b"x").unwrap();
    assert!(OsDisk::new(&dir.path().join("file"), IoMode::Auto).is_err());
}

#[test]
fn one_writer_or_many_readers() {
    let dir = folder();
    let disk = OsDisk::new(dir.path(), IoMode::Pread).unwrap();
    let other = OsDisk::new(dir.path(), IoMode::Pread).unwrap();
    let writer = disk.lock(LockMode::Exclusive).unwrap();
    for mode in [LockMode::Exclusive, LockMode::Shared] {
        let error = other.lock(mode).unwrap_err();
        assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    }
    drop(writer);
    let readers = [disk.lock(LockMode::Shared).unwrap(), other.lock(LockMode::Shared).unwrap()];
    assert!(matches!(disk.lock(LockMode::Exclusive), Err(StorageError::Locked { .. })));
    drop(readers);
    drop(disk.lock(LockMode::Exclusive).unwrap());
}

/// Holds the lock from another process, until it is killed.
#[test]
fn a_second_process_is_kept_out_and_a_killed_one_lets_go() {
    const FOLDER: &str = "NEARLINE_TEST_LOCK_FOLDER";
    if let Ok(root) = std::env::var(FOLDER) {
        let disk = OsDisk::new(root.as_ref(), IoMode::Pread).unwrap();
        let _lock = disk.lock(LockMode::Exclusive).unwrap();
        disk.create("locked").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
        return;
    }
    let dir = folder();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "folder::a_second_process_is_kept_out_and_a_killed_one_lets_go"])
        .env(FOLDER, dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !dir.path().join("locked").exists() {
        assert!(child.try_wait().unwrap().is_none(), "the child ended early");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let disk = OsDisk::new(dir.path(), IoMode::Pread).unwrap();
    assert!(matches!(disk.lock(LockMode::Exclusive), Err(StorageError::Locked { .. })));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(disk.lock(LockMode::Exclusive).unwrap());
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let dir = folder();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("full")).unwrap();
    let disk = OsDisk::new(dir.path(), IoMode::Pread).unwrap();
    let error = disk.open_rw("full").unwrap().write_at(0, b"x").unwrap_err();
    assert!(matches!(error, StorageError::DiskFull { op: "write", .. }), "{error}");
}

/// `/sys` refuses new files even to root.
#[test]
fn a_folder_that_cannot_be_written_can_be_read() {
    let disk = OsDisk::new("/sys".as_ref(), IoMode::Auto).unwrap();
    assert!(disk.list().unwrap().is_empty());
    drop(disk.lock(LockMode::Shared).unwrap());
    assert!(matches!(disk.lock(LockMode::Exclusive), Err(StorageError::Io { .. })));
}
