//! Scenarios: what to generate, build and search.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// One file of `scenarios/`; its name is the file's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// File name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// The vectors.
    pub data: Data,
    /// How the index is built.
    pub build: Build,
    /// How it is searched.
    pub search: Search,
}

/// Vectors to generate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Family: `deep` or `sift`.
    pub kind: String,
    /// Number of vectors.
    pub count: u64,
    /// Elements of each.
    pub dim: usize,
    /// `f32`, `f16`, `u8` or `i8`.
    pub element: String,
    /// `l2`, `ip` or `cosine`.
    pub metric: String,
    /// Decides all vectors and queries.
    pub seed: u64,
    /// Number of queries, from the same distribution but none of the vectors.
    pub queries: u64,
}

/// Options of the build.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Memory allowed, in MiB.
    pub memory_mib: u64,
    /// Decides every random choice.
    pub seed: u64,
}

/// Options of the searches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Neighbours asked for.
    pub k: usize,
    /// Recalls asked for, each measured on its own.
    pub targets: Vec<f32>,
}

impl Scenario {
    /// Reads all scenarios of a folder whose names begin with one of `wanted` (empty: all), in order of names.
    ///
    /// # Errors
    /// When the folder or a file cannot be read, or a wanted name finds nothing.
    pub fn read_all(folder: &Path, wanted: &[String]) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in folder.read_dir().with_context(|| format!("{}: not readable", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(Self::read(&path)?);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(missing) = wanted.iter().find(|name| !found.iter().any(|s| s.name.starts_with(*name))) {
            bail!("no scenario in {} begins with {missing:?}", folder.display());
        }
        found.retain(|scenario| {
            wanted.is_empty() || wanted.iter().any(|name| scenario.name.starts_with(name))
        });
        Ok(found)
    }

    fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{}: not readable", path.display()))?;
        let mut scenario: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        scenario.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(scenario)
    }
}
