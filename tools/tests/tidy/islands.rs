//! Where `unsafe` lives: on three islands, and each says why.

use super::lexer::Source;
use super::repo::Repo;

/// io_uring, aligned buffers, SIMD kernels. No other file may hold the word.
const ISLANDS: [&str; 3] = ["index/src/kernel/x86.rs", "storage/src/buffer.rs", "storage/src/disk/uring.rs"];

/// Roots of the crates that have an island; the workspace's lint denies `unsafe` in the rest of them.
const ROOTS_WITH_ISLANDS: [&str; 2] = ["index/src/lib.rs", "storage/src/lib.rs"];

/// The lint's name.
const LINT: &str = "unsafe_code";

/// The word outside the islands.
pub(crate) fn unsafe_elsewhere(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.sources().filter(|(path, _)| !ISLANDS.contains(path)) {
        let source = Source::new(text);
        for (at, _) in source.identifiers().filter(|&(_, word)| word == "unsafe") {
            complaints.push(format!("{path}:{}: `unsafe` outside its islands", source.line(at)));
        }
        for line in source.code.lines().filter(|line| line.contains(LINT)) {
            if !line.contains(&format!("forbid({LINT})")) {
                complaints.push(format!("{path}: `{}` outside the islands", line.trim()));
            }
        }
    }
    complaints
}

/// Islands that do not open with their reason; crates that do not forbid `unsafe`; a workspace that does not deny it.
pub(crate) fn declarations(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in ISLANDS {
        match repo.text(path) {
            None => complaints.push(format!("{path}: this island is gone; take it off the list")),
            Some(text)
                if !opens_with(text, &format!("#![expect({LINT},")) || !text.contains("reason = \"") =>
            {
                complaints.push(format!("{path}: must open with `#![expect({LINT}, reason = …)]`"));
            }
            Some(_) => {}
        }
    }
    for (path, text) in repo.sources().filter(|(path, _)| is_root(path)) {
        if !ROOTS_WITH_ISLANDS.contains(&path) && !opens_with(text, &format!("#![forbid({LINT})]")) {
            complaints.push(format!("{path}: must open with `#![forbid({LINT})]`"));
        }
    }
    let denied = repo.text("Cargo.toml").is_some_and(|text| text.contains(&format!("{LINT} = \"deny\"")));
    if !denied {
        complaints.push(format!("Cargo.toml: `{LINT} = \"deny\"` is missing from the workspace's lints"));
    }
    complaints
}

/// Library and program roots of the workspace.
fn is_root(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    matches!(
        (parts.next(), parts.next(), parts.next(), parts.next()),
        (Some("src"), Some("lib.rs" | "main.rs"), None, None) | (Some("src"), Some("bin"), Some(_), None)
    )
}

/// Whether one of the inner attributes at the top begins so, however it is laid out.
fn opens_with(text: &str, attribute: &str) -> bool {
    let source = Source::new(text);
    let mut rest = source.code.trim_start();
    while let Some(end) = rest.find(']').filter(|_| rest.starts_with("#![")) {
        let found: String = rest[..=end].split_whitespace().collect();
        if found.starts_with(attribute) {
            return true;
        }
        rest = rest[end + 1..].trim_start();
    }
    false
}

/// `unsafe` blocks and implementations without a SAFETY comment, `unsafe` functions without a `# Safety` section.
pub(crate) fn safety_comments(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.sources() {
        let source = Source::new(text);
        let lines: Vec<&str> = text.lines().collect();
        for (at, _) in source.identifiers().filter(|&(_, word)| word == "unsafe") {
            let rest = source.after(at + "unsafe".len());
            let wanted =
                if rest.starts_with("fn") || rest.starts_with("extern") { "# Safety" } else { "SAFETY:" };
            let line = source.line(at);
            if !comment_above(&lines[..line]).contains(wanted) {
                complaints.push(format!("{path}:{line}: `unsafe` without a {wanted} comment above it"));
            }
        }
    }
    complaints
}

/// The comment above the statement that the last of these lines belongs to.
fn comment_above(lines: &[&str]) -> String {
    let Some((_, above)) = lines.split_last() else { return String::new() };
    let is_comment = |line: &&&str| line.trim_start().starts_with("//");
    let goes_on = |line: &&&str| {
        let line = line.trim();
        let ends = line.is_empty() || line.ends_with([';', '{', '}']);
        line.starts_with("#[") || (!ends && !line.starts_with("//"))
    };
    let skipped = above.iter().rev().take_while(goes_on).count();
    above[..above.len() - skipped]
        .iter()
        .rev()
        .take_while(is_comment)
        .fold(String::new(), |all, line| all + line)
}

#[cfg(test)]
mod planted {
    use super::*;

    fn complaints(rule: fn(&Repo) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Repo::planted(&[(path, text)])).len()
    }

    #[test]
    fn the_word_is_noticed_in_code_only() {
        assert_eq!(complaints(unsafe_elsewhere, "engine/src/a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(complaints(unsafe_elsewhere, "engine/src/a.rs", "#[unsafe(no_mangle)] fn f() {}"), 1);
        assert_eq!(complaints(unsafe_elsewhere, "engine/src/a.rs", "// unsafe\nfn f() { \"unsafe\"; }"), 0);
        assert_eq!(complaints(unsafe_elsewhere, "engine/src/a.rs", "#![allow(unsafe_code)]"), 1);
        assert_eq!(complaints(unsafe_elsewhere, "engine/src/a.rs", "#![forbid(unsafe_code)]"), 0);
        assert_eq!(complaints(unsafe_elsewhere, ISLANDS[0], "fn f() { unsafe { g() } }"), 0);
    }

    #[test]
    fn islands_and_roots_declare_themselves() {
        let island = "//! Why.\n#![expect(unsafe_code, reason = \"because\")]\n";
        let good = [
            (ISLANDS[0], island),
            (ISLANDS[1], island),
            (ISLANDS[2], island),
            ("engine/src/lib.rs", "//! Doc.\n\n#![forbid(unsafe_code)]\nmod a;"),
            ("index/src/lib.rs", "mod kernel;"),
            ("Cargo.toml", "[workspace.lints.rust]\nunsafe_code = \"deny\""),
        ];
        assert_eq!(declarations(&Repo::planted(&good)), Vec::<String>::new());
        let mut bad = good;
        bad[0].1 = "#![expect(unsafe_code)]\n";
        bad[1].1 = "use a;\n#![expect(unsafe_code, reason = \"late\")]";
        bad[3].1 = "// #![forbid(unsafe_code)]\nmod a;";
        bad[2].1 = "#![expect(\n    unsafe_code,\n    reason = \"laid out otherwise, and fine\"\n)]";
        bad[5].1 = "";
        assert_eq!(declarations(&Repo::planted(&bad)).len(), 4);
        assert_eq!(declarations(&Repo::planted(&good[1..])).len(), 1);
    }

    #[test]
    fn blocks_want_their_comment() {
        for (text, expected) in [
            ("fn f() {\n    unsafe { g() }\n}", 1),
            ("fn f() {\n    // SAFETY: g may.\n    unsafe { g() }\n}", 0),
            ("fn f() {\n    // SAFETY: g may.\n    let x =\n        unsafe { g() };\n}", 0),
            ("// SAFETY: for another.\nlet y = 1;\nunsafe { g() }", 1),
            ("// SAFETY: plain bytes.\n#[cfg(unix)]\nunsafe impl Send for A {}", 0),
            ("/// Does.\nunsafe fn f() {}", 1),
            ("/// Does.\n///\n/// # Safety\n/// Never call it.\nunsafe fn f() {}", 0),
        ] {
            assert_eq!(complaints(safety_comments, ISLANDS[0], text), expected, "{text}");
        }
    }
}
