//! A disk that is full before or during a build. It needs a small file system of its own, so it takes root.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::run::{Done, Running, check_refused, command, finish, large, root};

/// A file system in RAM, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None`, loudly, where mounting is not allowed.
    fn new(name: &str, size: &str) -> Option<Self> {
        let dir = root().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &option, "nearline-test"]).arg(&dir);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("\n*** SKIPPED: a full disk needs the right to mount a small file system ***\n");
        }
        mounted.then_some(Self(dir))
    }

    /// Takes all space that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![1; 64 << 10];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Runs a line with the reads that suit a file system in RAM.
fn run(line: &str) -> Done {
    let mut command = command(line);
    command.env_remove("NEARLINE_IO");
    finish(command)
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_disk_too_small_is_refused_before_anything_is_written() {
    large();
    let Some(disk) = Mounted::new("small-disk", "2m") else { return };
    for flag in ["", "--plan"] {
        let line =
            format!("build --input large.fbin --metric l2 --output small-disk/index --progress none {flag}");
        check_refused(4, &line, &run(&line), &["small-disk/index", "free disk", "2.00 MiB"]);
    }
    assert_eq!(files(&disk.0), 0);
    let line = "generate --kind deep --count 100000 --output small-disk/x.fbin --progress none";
    check_refused(4, line, &run(line), &["small-disk/x.fbin", "free disk"]);
}

#[test]
fn a_disk_that_fills_up_stops_a_build_which_can_be_resumed() {
    large();
    let Some(disk) = Mounted::new("full-disk", "100m") else { return };
    let line = "build --input large.fbin --metric l2 --memory 24MiB --io auto --output full-disk/index";
    let mut build = Running::start(line);
    assert!(build.reach("cluster"));
    build.signal(Signal::STOP);
    disk.fill();
    build.signal(Signal::CONT);
    check_refused(4, line, &build.wait(), &["full-disk/index", "disk is full"]);
    let opened = run("inspect full-disk/index");
    assert!(opened.code == Some(5) && opened.stderr.contains("not an index"), "{opened:?}");
    disk.empty();
    let done = run(&format!("{line} --resume --progress none"));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let done = run("verify full-disk/index");
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
}

#[test]
fn a_disk_that_fills_up_stops_an_import_which_goes_on_later() {
    large();
    let Some(disk) = Mounted::new("full-db", "64m") else { return };
    disk.fill();
    let filler = std::fs::OpenOptions::new().write(true).open(disk.0.join("filler")).unwrap();
    filler.set_len(filler.metadata().unwrap().len() - (3 << 20)).unwrap();
    drop(filler);
    let build =
        "import --db full-db/db --collection c --vectors large.fbin --metric l2 --create --progress none";
    check_refused(4, build, &run(build), &["full-db/db", "free disk"]);
    let import = &format!("{build} --offline never");
    check_refused(4, import, &run(import), &["full-db/db", "disk is full"]);
    disk.empty();
    let done = run(import);
    assert!(
        done.stdout.contains("has 20,000 points") && !done.stdout.contains(" 0 as they were"),
        "{done:?}"
    );
    disk.fill();
    let before = files(&disk.0);
    let export = "export --db full-db/db --collection c --output full-db/out --progress none";
    check_refused(4, export, &run(export), &["full-db"]);
    assert_eq!(files(&disk.0), before, "nothing is left of what failed");
}
