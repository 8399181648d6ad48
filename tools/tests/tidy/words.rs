//! Words that may not stand in sources and documents.

use super::lexer::Source;
use super::repo::Repo;

/// Other books' words for a posting list. A bucket is something else: it belongs to behaviour spaces.
const SYNONYMS: [&str; 8] = [
    "inverted list",
    "inverted lists",
    "inverted file",
    "posting cell",
    "posting bucket",
    "voronoi cell",
    "cell",
    "cells",
];

/// Marks of unfinished work in comments.
const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// Macros of unfinished work.
const MACROS: [&str; 3] = ["dbg", "todo", "unimplemented"];

/// First folders of absolute paths that differ from machine to machine.
const MACHINE_ROOTS: [&str; 7] = ["home", "root", "work", "workspace", "Users", "tmp", "mnt"];

/// Synonyms of posting list in the index's comments, and as part of its names.
pub(crate) fn synonyms(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.sources().filter(|(path, _)| path.starts_with("index/src/")) {
        let source = Source::new(text);
        let comments = source.comments.iter().map(|(at, text)| (*at, words_of(text)));
        // `std::cell` is a module of the standard library.
        let names =
            source.identifiers().filter(|&(at, word)| !source.after(at + word.len()).starts_with("::"));
        let names = names.map(|(at, name)| (at, format!(" {} ", name.replace('_', " "))));
        for (at, text) in comments.chain(names) {
            for word in SYNONYMS.iter().filter(|word| text.contains(&format!(" {word} "))) {
                complaints.push(format!("{path}:{}: `{word}`: say posting list", source.line(at)));
            }
        }
    }
    complaints
}

/// A comment's words in lower case, each between single spaces.
fn words_of(comment: &str) -> String {
    let lower = comment.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(" ".to_owned(), |all, word| all + word + " ")
}

/// Marks and macros of unfinished work.
pub(crate) fn unfinished(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.sources() {
        let source = Source::new(text);
        for (at, comment) in &source.comments {
            for mark in MARKS.iter().filter(|mark| comment.contains(**mark)) {
                complaints.push(format!("{path}:{}: {mark}", source.line(*at)));
            }
        }
        let calls =
            source.identifiers().filter(|&(at, word)| source.code[at + word.len()..].starts_with('!'));
        for (at, word) in calls.filter(|(_, word)| MACROS.contains(word)) {
            complaints.push(format!("{path}:{}: {word}!", source.line(at)));
        }
    }
    complaints
}

/// Absolute paths, and paths out of the repository, in any text.
pub(crate) fn machine_paths(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in repo.paths() {
        for (number, line) in repo.text(path).unwrap_or_default().lines().enumerate() {
            if let Some(root) = MACHINE_ROOTS.iter().find(|root| names_root(line, root)) {
                complaints.push(format!("{path}:{}: an absolute path below /{root}", number + 1));
            }
            if line.contains(concat!("../", "shared")) {
                complaints.push(format!("{path}:{}: a path out of the repository", number + 1));
            }
        }
    }
    complaints
}

/// Whether a path in the line begins with a slash, this root, and another slash.
fn names_root(line: &str, root: &str) -> bool {
    let needle = format!("/{root}");
    line.match_indices(&needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + needle.len()..].chars().next();
        let starts =
            before.is_none_or(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '(' | '=' | ':'));
        starts && after.is_some_and(|c| c == '/')
    })
}

#[cfg(test)]
mod planted {
    use super::*;

    fn check(rule: fn(&Repo) -> Vec<String>, text: &str) -> usize {
        rule(&Repo::planted(&[("index/src/a.rs", text)])).len()
    }

    #[test]
    fn synonyms_are_noticed_in_prose_and_names() {
        assert_eq!(check(synonyms, "// An inverted\n// list of inverted lists."), 1);
        assert_eq!(check(synonyms, "fn read_cell(cells: u8) {}"), 2);
        assert_eq!(check(synonyms, "use std::cell::Cell;\n// excellent: cellar\nfn f() { \"cell\"; }"), 0);
        assert_eq!(synonyms(&Repo::planted(&[("tools/src/a.rs", "// a cell of a table")])).len(), 0);
    }

    #[test]
    fn unfinished_work_is_noticed() {
        assert_eq!(check(unfinished, "// TODO: later\nfn f() { todo!() }"), 2);
        assert_eq!(check(unfinished, "/* FIXME */ fn f() { dbg!(1); unimplemented!() }"), 3);
        assert_eq!(check(unfinished, "fn todo() { \"TODO todo!\"; } // to do"), 0);
    }

    #[test]
    fn paths_of_one_machine_are_noticed() {
        for root in MACHINE_ROOTS {
            assert_eq!(check(machine_paths, &format!("let a = \"/{root}/x\";")), 1, "{root}");
            assert_eq!(check(machine_paths, &format!("// see src/{root}/x, and /{root}er")), 0, "{root}");
        }
        assert_eq!(check(machine_paths, concat!("join(\"../", "shared\")")), 1);
        assert_eq!(check(machine_paths, "read(\"/proc/self/io\")"), 0);
    }
}
