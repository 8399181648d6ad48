//! Files that nothing reaches, and the scripts around the sources.

use std::collections::BTreeSet;

use super::lexer::Source;
use super::manifest::Manifest;
use super::repo::Repo;

/// Folders of a crate in which every file is a program of its own.
const PROGRAM_FOLDERS: [&str; 5] = ["tests", "benches", "examples", "bin", "fuzz_targets"];

/// Sources that no `mod` names, and `mod.rs` files.
pub(crate) fn orphans(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, _) in repo.sources() {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let name = file.trim_end_matches(".rs");
        if name == "mod" {
            complaints.push(format!("{path}: modules are `x.rs` beside `x/`"));
        } else if !is_program(folder, name) && !parents(folder).iter().any(|file| declares(repo, file, name))
        {
            complaints.push(format!("{path}: no `mod {name};` leads here"));
        }
    }
    complaints
}

fn is_program(folder: &str, name: &str) -> bool {
    let mut above = folder.rsplit('/');
    let (last, before) = (above.next().unwrap_or_default(), above.next().unwrap_or_default());
    let in_src = last == "src" && matches!(name, "lib" | "main" | "build");
    // `tests/it/main.rs` is a program, too.
    in_src || PROGRAM_FOLDERS.contains(&last) || (PROGRAM_FOLDERS.contains(&before) && name == "main")
}

/// The files that may declare the modules in a folder.
fn parents(folder: &str) -> [String; 3] {
    [format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")]
}

/// Whether a file has `mod name;`, inside an inline module or not.
fn declares(repo: &Repo, file: &str, name: &str) -> bool {
    let source = Source::new(repo.text(file).unwrap_or_default());
    let mut words = source.identifiers();
    words.any(|(at, word)| {
        let rest = if word == "mod" { source.after(at + 3) } else { "" };
        rest.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(';'))
    })
}

/// Fuzz targets without an entry in the manifest, and entries without a file.
pub(crate) fn fuzz_targets(repo: &Repo) -> Vec<String> {
    let Some(text) = repo.text("fuzz/Cargo.toml") else { return vec!["fuzz/Cargo.toml: missing".to_owned()] };
    let manifest = Manifest::parse(text);
    let listed: BTreeSet<String> =
        manifest.all("bin", "path").into_iter().map(|path| format!("fuzz/{path}")).collect();
    let files = repo.sources().map(|(path, _)| path).filter(|path| path.starts_with("fuzz/fuzz_targets/"));
    let files: BTreeSet<String> = files.map(str::to_owned).collect();
    let forgotten = files.difference(&listed).map(|path| format!("{path}: no [[bin]] in fuzz/Cargo.toml"));
    let gone = listed.difference(&files).map(|path| format!("fuzz/Cargo.toml: there is no {path}"));
    forgotten.chain(gone).collect()
}

/// What is wrong with `.ci/run`.
pub(crate) fn ci_script(repo: &Repo) -> Vec<String> {
    const PATH: &str = ".ci/run";
    let Some(text) = repo.text(PATH) else { return vec![format!("{PATH}: missing")] };
    let checks = [
        (repo.is_executable(PATH), "is not executable"),
        (text.starts_with("#!/usr/bin/env bash\n"), "is no bash script"),
        (text.contains("\nset -euo pipefail\n"), "goes on after failures"),
    ];
    checks.iter().filter(|(good, _)| !good).map(|(_, why)| format!("{PATH}: {why}")).collect()
}

#[cfg(test)]
mod planted {
    use super::*;

    #[test]
    fn a_file_no_mod_names_is_noticed() {
        let good = [
            ("index/src/lib.rs", "pub mod a;\nmod kernel ;"),
            ("index/src/a.rs", "mod b;"),
            ("index/src/a/b.rs", ""),
            ("index/src/kernel.rs", ""),
            ("index/tests/it/main.rs", "mod c;"),
            ("index/tests/it/c.rs", ""),
            ("tools/tests/tidy.rs", "mod tidy { pub(crate) mod d; }"),
            ("tools/tests/tidy/d.rs", ""),
            ("benches/benches/e.rs", ""),
        ];
        assert_eq!(orphans(&Repo::planted(&good)), Vec::<String>::new());
        for lost in [
            ("index/src/lost.rs", ""),
            ("index/src/a.rs", "// mod b;"),
            ("index/src/a.rs", "mod bb; mod b {}"),
            ("index/src/a/mod.rs", ""),
            ("index/tests/it/lost.rs", ""),
        ] {
            let mut files = good.to_vec();
            files.push(lost);
            assert_eq!(orphans(&Repo::planted(&files)).len(), 1, "{lost:?}");
        }
    }

    #[test]
    fn fuzz_targets_and_their_list_agree() {
        let manifest =
            "[[bin]]\nname = \"a\"\npath = \"fuzz_targets/a.rs\"\n[[bin]]\npath = \"fuzz_targets/b.rs\"\n";
        let files = [
            ("fuzz/Cargo.toml", manifest),
            ("fuzz/fuzz_targets/a.rs", ""),
            ("fuzz/fuzz_targets/b.rs", ""),
            ("fuzz/fuzz_targets/c.rs", ""),
        ];
        assert_eq!(fuzz_targets(&Repo::planted(&files[..3])), Vec::<String>::new());
        assert_eq!(fuzz_targets(&Repo::planted(&files)).len(), 1);
        assert_eq!(fuzz_targets(&Repo::planted(&files[..2])).len(), 1);
        assert_eq!(fuzz_targets(&Repo::planted(&[])).len(), 1);
    }

    #[test]
    fn a_ci_script_that_cannot_run_is_noticed() {
        let mut repo =
            Repo::planted(&[(".ci/run", "#!/usr/bin/env bash\n# All of it.\nset -euo pipefail\n")]);
        assert_eq!(ci_script(&repo), [".ci/run: is not executable"]);
        repo.make_executable(".ci/run");
        assert_eq!(ci_script(&repo), Vec::<String>::new());
        assert_eq!(ci_script(&Repo::planted(&[(".ci/run", "#!/bin/sh\n")])).len(), 3);
        assert_eq!(ci_script(&Repo::planted(&[])).len(), 1);
    }
}
