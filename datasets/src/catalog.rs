//! The real data sets that tests measure against, found in a folder outside the repository.
//!
//! The folder is named by the environment variable `NEARLINE_DATASETS`; without it `shared/datasets` beside the
//! workspace's folder is tried. Tests that need a set are skipped, loudly, where there is none: see [`open`].

use std::path::{Path, PathBuf};

use crate::Metric;

/// Environment variable naming the folder.
pub const VARIABLE: &str = "NEARLINE_DATASETS";

/// Sets ranked by squared distance; all others are ranked by inner product.
const L2_SETS: [&str; 3] = ["sift-bsds", "mnist", "gist-cifar"];
/// What every set has, behind its name.
const BASE: &str = ".base.";
/// Folders of dense vectors inside the folder of data sets.
const FOLDERS: [&str; 2] = ["vectors", "rag"];

/// The sets of one folder, ordered by name.
#[derive(Clone, Debug)]
pub struct Catalog {
    root: PathBuf,
    sets: Vec<DataSet>,
}

/// A dense set: vectors, held-out queries and their exact neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSet {
    /// File name up to the first dot, such as `sift-bsds-200k`.
    pub name: String,
    /// How its truth is ranked.
    pub metric: Metric,
    /// The vectors to search.
    pub base: PathBuf,
    /// The queries.
    pub query: PathBuf,
    /// The 100 nearest of each query.
    pub truth: PathBuf,
}

/// The catalog, or `None` after one loud message on standard error that says how to get it.
pub fn open() -> Option<Catalog> {
    let root = std::env::var_os(VARIABLE).map_or_else(default_root, PathBuf::from);
    let catalog = Catalog::read(&root);
    if catalog.is_none() {
        eprintln!(
            "\n*** SKIPPED: no real data sets in {}: set {VARIABLE} to their folder (it has {FOLDERS:?} inside) ***\n",
            root.display()
        );
    }
    catalog
}

fn default_root() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(""));
    beside.join("shared").join("datasets")
}

impl Catalog {
    /// Lists the complete sets in a folder; `None` when there is none.
    pub fn read(root: &Path) -> Option<Catalog> {
        let mut sets: Vec<DataSet> = FOLDERS.iter().flat_map(|folder| sets_in(&root.join(folder))).collect();
        sets.sort_by(|a, b| a.name.cmp(&b.name));
        (!sets.is_empty()).then(|| Catalog { root: root.to_owned(), sets })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every set, ordered by name.
    pub fn sets(&self) -> &[DataSet] {
        &self.sets
    }

    /// The set of that name, or the first whose name starts so: `sift` finds `sift-bsds-200k`.
    pub fn find(&self, name: &str) -> Option<&DataSet> {
        let exact = self.sets.iter().find(|set| set.name == name);
        exact.or_else(|| self.sets.iter().find(|set| set.name.starts_with(name)))
    }
}

fn sets_in(folder: &Path) -> Vec<DataSet> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|entry| set_of(folder, &entry.file_name().to_string_lossy())).collect()
}

/// The set whose base file has this name, if its queries and truth are there too.
fn set_of(folder: &Path, file: &str) -> Option<DataSet> {
    let (name, kind) = file.split_once(BASE)?;
    let set = DataSet {
        name: name.to_owned(),
        metric: if L2_SETS.iter().any(|l2| name.starts_with(l2)) { Metric::L2 } else { Metric::InnerProduct },
        base: folder.join(file),
        query: folder.join(format!("{name}.query.{kind}")),
        truth: folder.join(format!("{name}.gt100.bin.gz")),
    };
    (set.query.is_file() && set.truth.is_file()).then_some(set)
}
