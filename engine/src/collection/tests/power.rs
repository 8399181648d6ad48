//! File systems of our own, ext4 on loop devices: the power is cut while a process uses a collection on one, which is told to
//! shut down at once; another is filled up. Only root may do so.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::asked;
use super::kill::{Interrupted, check, create};
use super::ledger::Ledger;
use super::process::{Child, Told, WRITERS, call, open};
use super::twin::Random;
use crate::{Collection, Payload, Point};

/// Opens a folder, waits for a line, and has its file system shut down without writing anything any more
/// (`EXT4_IOC_SHUTDOWN`, `EXT4_GOING_FLAGS_NOLOGFLUSH`).
const CUT: &str = "import fcntl, os, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(folder, 0x8004587d, (2).to_bytes(4, 'little'))
print('cut', flush=True)
";

/// A file system of its own, unmounted at the end.
struct Mount {
    image: PathBuf,
    folder: PathBuf,
}

fn run(program: &str, args: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Mount {
    /// A new one, or `None` and why there is none, loudly.
    fn new(home: &Path, bytes: u64) -> Option<Self> {
        let made = Self::make(home, bytes);
        made.inspect_err(|error| eprintln!("*** SKIPPED: there is no file system of our own: {error} ***"))
            .ok()
    }

    fn make(home: &Path, bytes: u64) -> Result<Self, String> {
        let mount = Self { image: home.join("image"), folder: home.join("mounted") };
        std::fs::create_dir(&mount.folder).map_err(|error| error.to_string())?;
        let made = std::fs::File::create(&mount.image).and_then(|file| file.set_len(bytes));
        made.map_err(|error| error.to_string())?;
        run("python3", &["--version".as_ref()])?;
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &mount.image])?;
        mount.mount()?;
        Ok(mount)
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o".as_ref(), "loop".as_ref(), &self.image, &self.folder])
    }

    /// Cuts the power and restores it. What `child` told before the cut, and all it told.
    fn cut(&self, child: Child, when: impl FnOnce()) -> (Told, Told) {
        let mut cutter = Command::new("python3")
            .args(["-c".as_ref(), CUT.as_ref(), self.folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(cutter.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        when();
        // What is told from now on may have been lost already.
        let before = child.told();
        cutter.stdin.take().unwrap().write_all(b"\n").unwrap();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\ncut\n");
        assert!(cutter.wait().unwrap().success());
        let all = child.kill();
        self.unmount().unwrap();
        self.mount().unwrap();
        (before, all)
    }

    fn unmount(&self) -> Result<(), String> {
        // A process that is gone may hold it for a moment yet.
        let tries = (0..50).map(|_| run("umount", &[&self.folder]));
        let pause = |_: &Result<(), String>| std::thread::sleep(Duration::from_millis(20));
        tries.inspect(pause).find(Result::is_ok).unwrap_or_else(|| run("umount", &[&self.folder]))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.unmount();
    }
}

/// Of each writer, the calls that must be there: all up to the last that was acknowledged as synced, in the order of the log.
fn promised(done: &[u64], before: &Told, all: &Told) -> Vec<u64> {
    let is_synced = |writer: usize, number: u64| call(writer, number).is_synced();
    let acks = (0..WRITERS).flat_map(|writer| before.acks[writer].iter().map(move |ack| (writer, ack)));
    let durable = acks.filter(|(writer, ack)| is_synced(*writer, ack.number)).map(|(_, ack)| ack.lsn).max();
    let durable = durable.unwrap_or(0);
    let of = |writer: usize| {
        let kept = all.acks[writer].iter().rfind(|ack| ack.lsn <= durable);
        kept.map_or(done[writer], |ack| ack.number + 1)
    };
    (0..WRITERS).map(of).collect()
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    let cycles = asked("NEARLINE_POWER_CUTS", 2);
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(home.path(), 512 << 20) else { return };
    let folder = mount.folder.join("database");
    create(&folder);
    let seed = asked("NEARLINE_KILL_SEED", std::process::id().into());
    let (mut ledger, mut random) = (Ledger::new(), Random(seed));
    let (mut interrupted, mut late) = (Interrupted::default(), 0);
    for cycle in 0..cycles {
        let when = format!("cut {cycle} of seed {seed}");
        let child = Child::start(&folder, &format!("p{cycle:06}"), Some(&ledger.done));
        let pause = Duration::from_micros(random.below(250_000));
        let (before, all) = mount.cut(child, || std::thread::sleep(pause));
        assert!(before.errors.is_empty(), "{when}: {:?}", before.errors);
        interrupted.look(&folder);
        if random.once_in(3) {
            // Again, while what is left is opened.
            let child = Child::start(&folder, "none", None);
            let pause = Duration::from_micros(random.below(40_000));
            let (before, _) = mount.cut(child, || std::thread::sleep(pause));
            assert!(before.errors.is_empty(), "{when}: {:?}", before.errors);
        }
        late += all.acks.iter().flatten().count() - before.acks.iter().flatten().count();
        let promised = promised(&ledger.done, &before, &all);
        check(&folder, &mut ledger, &promised, &before, &all, &when);
    }
    println!("{:?} calls; {interrupted:?}; {late} told too late to count", ledger.done);
}

#[test]
fn a_full_file_system_refuses_writes_until_there_is_space() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(home.path(), 64 << 20) else { return };
    let folder = mount.folder.join("database");
    create(&folder);
    let ballast = mount.folder.join("ballast");
    std::fs::write(&ballast, vec![7; 30 << 20]).unwrap();
    let (mut database, mut collection) = open(&folder);
    let mut count = 0;
    let write = |collection: &Collection, id: u64| {
        let text = "so much ".repeat(2_000);
        collection.upsert([Point::new(id).vector([id as f32, 1.0]).payload(Payload::new().with("t", text))])
    };
    let error = loop {
        match write(&collection, count) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_retryable() && count > 100, "{error} after {count}");
    for _ in 0..2 {
        // It is read, and opens, all the same.
        assert_eq!(collection.count(None).unwrap(), count);
        assert_eq!(collection.get([count - 1]).unwrap().len(), 1);
        // There may be a little room again: what was left of a flush that failed goes.
        match write(&collection, count) {
            Ok(_) => count += 1,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        drop(collection);
        drop(database);
        (database, collection) = open(&folder);
    }
    std::fs::remove_file(&ballast).unwrap();
    // The file system gives blocks back with its next journal commit, a moment later.
    assert!(Command::new("sync").arg("-f").arg(&mount.folder).status().unwrap().success());
    for id in count..count + 10 {
        write(&collection, id).unwrap();
    }
    collection.flush().unwrap();
    collection.verify().unwrap();
    assert_eq!(collection.count(None).unwrap(), count + 10);
    drop(collection);
    drop(database);
}
