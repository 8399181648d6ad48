//! Which crate may use what.

use super::lexer::Source;
use super::manifest::{Manifest, Role};
use super::repo::Repo;

/// One crate of the workspace: its folder, its name, and the folders it may depend on.
struct Layer {
    folder: &'static str,
    name: &'static str,
    below: &'static [&'static str],
    /// Only in tests.
    dev: &'static [&'static str],
}

const fn layer(folder: &'static str, name: &'static str, below: &'static [&'static str]) -> Layer {
    Layer { folder, name, below, dev: &[] }
}

/// The arrows of ARCHITECTURE.md. Nothing depends on the benches.
const LAYERS: [Layer; 7] = [
    layer("storage", "nearline-storage", &[]),
    Layer { dev: &["datasets"], ..layer("index", "nearline-index", &["storage"]) },
    layer("engine", "nearline", &["index", "storage"]),
    layer("server", "nearline-server", &["engine"]),
    layer("datasets", "nearline-datasets", &[]),
    layer("tools", "nearline-tools", &["engine", "datasets", "server"]),
    layer("benches", "nearline-benches", &["storage", "index", "engine", "server", "datasets", "tools"]),
];

/// The crates that may be used by programs which know neither network nor terminal.
const LIBRARIES: [&str; 4] = ["storage", "index", "engine", "datasets"];

/// Beginnings of the names of crates that bring an executor or live on one.
const ASYNC: [&str; 8] = ["tokio", "async-", "futures", "smol", "axum", "hyper", "tower", "reqwest"];

/// Crates that speak HTTP or JSON, or read command lines.
const DOORS: [&str; 11] = [
    "axum",
    "clap",
    "http",
    "hyper",
    "indicatif",
    "reqwest",
    "serde_json",
    "simd-json",
    "tiny_http",
    "tower",
    "ureq",
];

/// Dependencies on our own crates that no arrow allows, and crates no layer is known of.
pub(crate) fn arrows(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, manifest) in members(repo) {
        let folder = path.trim_end_matches("/Cargo.toml");
        let Some(layer) = LAYERS.iter().find(|layer| layer.folder == folder) else {
            complaints
                .push(format!("{path}: a crate without a layer; give it one in ARCHITECTURE.md and here"));
            continue;
        };
        for (name, role, _) in manifest.dependencies() {
            if name.starts_with("nearline") && !allowed(layer, name, role) {
                complaints.push(format!("{path}: {folder} may not depend on {name}"));
            }
        }
    }
    complaints
}

fn allowed(layer: &Layer, name: &str, role: Role) -> bool {
    let folder = LAYERS.iter().find(|other| other.name == name).map(|other| other.folder);
    folder.is_some_and(|folder| {
        let in_tests = role == Role::Dev && (layer.dev.contains(&folder) || layer.folder == folder);
        layer.below.contains(&folder) || in_tests
    })
}

/// Executors and `async` code in the libraries.
pub(crate) fn no_async_below_the_server(repo: &Repo) -> Vec<String> {
    let mut complaints = foreign(
        repo,
        |name| ASYNC.iter().any(|start| name.starts_with(start)),
        "brings async below the server",
    );
    for (path, text) in repo.sources().filter(|(path, _)| in_library(path)) {
        let source = Source::new(text);
        for (at, word) in source.identifiers() {
            if matches!(word, "async" | "await") {
                complaints.push(format!("{path}:{}: `{word}` below the server", source.line(at)));
            }
        }
    }
    complaints
}

/// Crates in the libraries that only the doors of the house may know.
pub(crate) fn no_doors_below_server_and_tools(repo: &Repo) -> Vec<String> {
    foreign(repo, |name| DOORS.contains(&name), "belongs into server or tools")
}

fn foreign(repo: &Repo, is_bad: impl Fn(&str) -> bool, why: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, manifest) in members(repo).into_iter().filter(|(path, _)| in_library(path)) {
        for (name, role, _) in manifest.dependencies() {
            if role == Role::Normal && is_bad(name) {
                complaints.push(format!("{path}: {name} {why}"));
            }
        }
    }
    complaints
}

fn in_library(path: &str) -> bool {
    LIBRARIES.iter().any(|folder| path.split('/').next() == Some(folder))
}

/// Fields, lints and versions that are not the workspace's.
pub(crate) fn inheritance(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, manifest) in members(repo) {
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            if manifest.get("package", &format!("{field}.workspace")) != Some("true") {
                complaints.push(format!("{path}: `{field}.workspace = true` is missing from [package]"));
            }
        }
        if manifest.get("lints", "workspace") != Some("true") {
            complaints.push(format!("{path}: `workspace = true` is missing from [lints]"));
        }
        let own = manifest.get("package", "name").unwrap_or_default();
        for (name, _, value) in manifest.dependencies() {
            let inherited = value.contains("workspace = true") || value == "true" || value == "workspace";
            if !inherited && name != own {
                complaints.push(format!("{path}: {name} takes no version from the workspace"));
            }
        }
    }
    complaints
}

/// The manifests of the workspace's members: of the folders with one, but for `fuzz`, which stands outside.
fn members(repo: &Repo) -> Vec<(&str, Manifest)> {
    let manifests = repo.with_extension("toml").filter(|(path, _)| path.ends_with("/Cargo.toml"));
    let members = manifests.filter(|(path, _)| !path.starts_with("fuzz/"));
    members.map(|(path, text)| (path, Manifest::parse(text))).collect()
}

#[cfg(test)]
mod planted {
    use super::*;

    const GOOD: &str = "[package]\nname = \"nearline-index\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

    fn check(rule: fn(&Repo) -> Vec<String>, folder: &str, more: &str) -> usize {
        let manifest = format!("{GOOD}{more}");
        rule(&Repo::planted(&[(&format!("{folder}/Cargo.toml"), &manifest)])).len()
    }

    #[test]
    fn arrows_may_not_go_up() {
        let storage = "[dependencies]\nnearline-storage = { workspace = true }\n";
        let engine = "[dependencies]\nnearline = { workspace = true }\n";
        let benches = "[dev-dependencies]\nnearline-benches.workspace = true\n";
        let datasets = "[dev-dependencies]\nnearline-datasets = { workspace = true }\n";
        assert_eq!(check(arrows, "index", storage), 0);
        assert_eq!(check(arrows, "index", engine), 1);
        assert_eq!(check(arrows, "index", datasets), 0);
        assert_eq!(check(arrows, "storage", datasets), 1);
        assert_eq!(check(arrows, "datasets", storage), 1);
        assert_eq!(check(arrows, "server", storage), 1);
        assert_eq!(check(arrows, "tools", storage), 1);
        assert_eq!(check(arrows, "tools", benches), 1);
        assert_eq!(check(arrows, "benches", storage), 0);
        assert_eq!(check(arrows, "attic", ""), 1);
    }

    #[test]
    fn a_dev_arrow_is_no_arrow() {
        assert_eq!(check(arrows, "index", "[dependencies]\nnearline-datasets = { workspace = true }\n"), 1);
        assert_eq!(check(arrows, "storage", "[dev-dependencies]\nnearline-storage = { path = \".\" }\n"), 0);
        assert_eq!(check(arrows, "storage", "[dependencies]\nnearline-storage = { path = \".\" }\n"), 1);
    }

    #[test]
    fn executors_and_doors_stay_above() {
        let tokio = "[target.'cfg(unix)'.dependencies]\ntokio = { workspace = true }\n";
        assert_eq!(check(no_async_below_the_server, "engine", tokio), 1);
        assert_eq!(check(no_async_below_the_server, "server", tokio), 0);
        let json = "[dependencies]\nserde_json.workspace = true\n";
        assert_eq!(check(no_doors_below_server_and_tools, "storage", json), 1);
        assert_eq!(check(no_doors_below_server_and_tools, "tools", json), 0);
        let text = "/// async in prose\nasync fn f() { g().await }";
        assert_eq!(no_async_below_the_server(&Repo::planted(&[("index/src/a.rs", text)])).len(), 2);
    }

    #[test]
    fn manifests_that_go_their_own_way_are_noticed() {
        assert_eq!(check(inheritance, "index", ""), 0);
        assert_eq!(check(inheritance, "index", "[dependencies]\nrayon = \"1\"\n"), 1);
        let bare = Repo::planted(&[("index/Cargo.toml", "[package]\nname = \"x\"\nversion = \"1.0.0\"\n")]);
        assert_eq!(inheritance(&bare).len(), 6);
    }
}
