//! Running the binary, and the small files that most tests share.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal};
use serde_json::Value;

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Every line of standard output as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// The folder all tests work in. Paths on command lines are relative to it.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
        std::fs::create_dir_all(&parent).unwrap();
        remove_leftovers(&parent);
        let root = parent.join(std::process::id().to_string());
        std::fs::create_dir_all(&root).unwrap();
        root
    })
}

/// Removes the folders of test processes that are gone.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).unwrap().flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A new, empty folder in [`root`], and its name.
pub(crate) fn scratch(name: &str) -> String {
    let dir = root().join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir).unwrap();
    name.to_owned()
}

/// The binary with the words of a line as its arguments.
pub(crate) fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearline"));
    command.args(line.split_whitespace()).current_dir(root()).stdin(Stdio::null());
    command
}

pub(crate) fn run(line: &str) -> Done {
    finish(command(line))
}

pub(crate) fn finish(mut command: Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs a line that must succeed.
#[track_caller]
pub(crate) fn ok(line: &str) -> Done {
    let done = run(line);
    assert_eq!(done.code, Some(0), "{line}\n{}{}", done.stdout, done.stderr);
    done
}

/// Runs a line that must fail with a code and one line on standard error, which has all of `words`.
#[track_caller]
pub(crate) fn refused(code: i32, line: &str, words: &[&str]) {
    check_refused(code, line, &run(line), words);
}

#[track_caller]
pub(crate) fn check_refused(code: i32, line: &str, done: &Done, words: &[&str]) {
    let error = &done.stderr;
    assert_eq!(done.code, Some(code), "{line}\n{error}");
    let lines: Vec<&str> = error.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "{line}\n{error}");
    assert!(lines[0].starts_with("nearline: "), "{line}\n{error}");
    assert!(!error.contains("panicked") && !error.contains("internal error"), "{line}\n{error}");
    for word in words {
        assert!(lines[0].contains(word), "{line}\nexpected {word:?} in: {error}");
    }
}

/// A command that runs, with a view of its stages.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    /// Starts a line with `--progress json`.
    pub(crate) fn start(line: &str) -> Self {
        Self::spawn(command(line))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.args(["--progress", "json"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// Waits until a stage begins; false if the build ends before.
    pub(crate) fn reach(&mut self, stage: &str) -> bool {
        let wanted = format!("\"stage\":\"{stage}\"");
        let mut line = String::new();
        while self.stderr.read_line(&mut line).unwrap() > 0 {
            if line.contains(&wanted) {
                return true;
            }
            line.clear();
        }
        false
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(mut self) -> Done {
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        let code = self.child.wait().unwrap().code();
        Done { code, stdout: String::new(), stderr }
    }
}

/// The shared files: 2,000 x 24 vectors, 100 queries, their exact answers, an index. Nobody may change them.
pub(crate) const BUILD: &str = "build --input base.fbin --metric l2 --memory 64MiB --seed 7 --progress none";

/// Makes the shared files once. They are `base.fbin`, `queries.fbin`, `truth.bin` and `index` in [`root`].
pub(crate) fn shared() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        ok("generate --kind deep --count 2000 --dim 24 --seed 3 --output base.fbin --queries 100 \
            --queries-output queries.fbin");
        ok("groundtruth --base base.fbin --queries queries.fbin --metric l2 --k 100 --output truth.bin");
        ok(&format!("{BUILD} --output index --threads 2"));
    });
}

/// A set large enough to be interrupted: `large.fbin`, 20,000 x 32.
pub(crate) fn large() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        ok("generate --kind deep --count 20000 --dim 32 --seed 5 --output large.fbin");
    });
}
