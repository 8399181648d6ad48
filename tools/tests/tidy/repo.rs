//! The files of the repository, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Extensions of the files whose text the rules read; of all others only the name counts.
const TEXTS: [&str; 5] = ["rs", "toml", "md", "yml", "sh"];

/// Every file by its path from the root, with `/` between folders.
#[derive(Default)]
pub(crate) struct Repo {
    files: BTreeMap<String, String>,
    executable: BTreeSet<String>,
}

impl Repo {
    /// Reads the workspace this test was compiled in.
    pub(crate) fn of_this_workspace() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace");
        let mut repo = Self::default();
        repo.read_folder(root, "");
        repo
    }

    /// A repository of planted files.
    pub(crate) fn planted(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect();
        Self { files, executable: BTreeSet::new() }
    }

    /// As if the file's mode let it be executed.
    pub(crate) fn make_executable(&mut self, path: &str) {
        self.executable.insert(path.to_owned());
    }

    pub(crate) fn is_executable(&self, path: &str) -> bool {
        self.executable.contains(path)
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The text of a file, if it exists.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether there is a file or folder of that name; the root is the empty name.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty()
            || self.files.contains_key(path)
            || self.paths().any(|file| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Files with that extension, with their texts.
    pub(crate) fn with_extension(&self, extension: &str) -> impl Iterator<Item = (&str, &str)> {
        let ending = format!(".{extension}");
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(&ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Rust sources.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.with_extension("rs")
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let entry = entry.expect("a folder's entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            // What is gone again was somebody's temporary file.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if !skipped(&entry.path(), &path, &name) {
                    self.read_folder(&entry.path(), &format!("{path}/"));
                }
            } else if kind.is_file() {
                self.read_file(&entry.path(), path);
            }
        }
    }

    fn read_file(&mut self, from: &Path, path: String) {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        let read = TEXTS.contains(&extension) || path.starts_with(".ci/");
        let text = if read { fs::read_to_string(from).unwrap_or_default() } else { String::new() };
        if is_executable(from) {
            self.executable.insert(path.clone());
        }
        self.files.insert(path, text);
    }
}

/// Folders that hold no sources: build output, version control, what the fuzzer found.
fn skipped(folder: &Path, path: &str, name: &str) -> bool {
    let hidden = name.starts_with('.') && !matches!(name, ".ci" | ".cargo" | ".github");
    let fuzzed = matches!(path, "fuzz/corpus" | "fuzz/artifacts");
    hidden || fuzzed || name == "target" || folder.join("CACHEDIR.TAG").exists()
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    true
}

#[test]
fn folders_exist_as_their_files_do() {
    let repo = Repo::planted(&[("docs/decisions/one.md", "")]);
    for path in ["", "docs", "docs/", "docs/decisions", "docs/decisions/one.md"] {
        assert!(repo.exists(path), "{path}");
    }
    for path in ["doc", "docs/decisions/one", "one.md"] {
        assert!(!repo.exists(path), "{path}");
    }
}
