//! Links and file names in Markdown.

use std::collections::BTreeMap;

use super::repo::Repo;

/// Links to files or headings that do not exist.
pub(crate) fn links(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.with_extension("md") {
        for (line, target) in targets(text) {
            if let Some(why) = broken(repo, path, &target) {
                complaints.push(format!("{path}:{line}: {target}: {why}"));
            }
        }
    }
    complaints
}

/// Sources named by ARCHITECTURE.md in backticks that do not exist.
pub(crate) fn named_files(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    let text = repo.text("ARCHITECTURE.md").unwrap_or_default();
    for (number, line) in text.lines().enumerate() {
        // Every second piece between backticks is code.
        for code in line.split('`').skip(1).step_by(2) {
            let is_path =
                code.contains('/') && [".rs", ".md", ".toml", "/"].iter().any(|end| code.ends_with(end));
            let is_pattern = code.contains(['<', '*', '{', ' ']);
            if is_path && !is_pattern && !repo.exists(code) {
                complaints.push(format!("ARCHITECTURE.md:{}: {code} does not exist", number + 1));
            }
        }
    }
    complaints
}

/// Lines that are no code block, numbered from 1, with code spans blanked.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        let spans = line.split('`').enumerate().filter(|(i, _)| i % 2 == 0).map(|(_, piece)| piece);
        (!fenced && !fence).then(|| (number + 1, spans.collect::<Vec<_>>().join("` `")))
    })
}

/// The targets of all links, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            found.push((number, target.trim_matches(['<', '>']).to_owned()));
        }
        // `[name]: target`
        if let Some((_, target)) = line.split_once("]: ").filter(|(name, _)| name.starts_with('[')) {
            found.push((number, target.split(' ').next().unwrap_or_default().to_owned()));
        }
    }
    found
}

/// Why a link leads nowhere, if so. Links out of the repository are not followed.
fn broken(repo: &Repo, from: &str, target: &str) -> Option<&'static str> {
    if ["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme)) {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { Some(from.to_owned()) } else { resolve(from, file) };
    let Some(path) = path.filter(|path| repo.exists(path)) else { return Some("no such file") };
    let headings = repo.text(&path).map(anchors).unwrap_or_default();
    (!anchor.is_empty() && !headings.iter().any(|heading| heading == anchor)).then_some("no such heading")
}

/// A relative path seen from a file, as a path from the root.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The anchors of a document's headings: lower case, spaces as hyphens, no punctuation, repeated ones numbered.
fn anchors(text: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase();
        let kept = kept.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug = kept.collect::<String>().replace(' ', "-");
        let times = seen.entry(slug.clone()).and_modify(|times| *times += 1).or_insert(0);
        found.push(if *times == 0 { slug } else { format!("{slug}-{times}") });
    }
    found
}

#[cfg(test)]
mod planted {
    use super::*;

    fn check(text: &str) -> usize {
        let other = "# Every byte\n\n## The header, v1\n\n## Notes\n## Notes\n";
        links(&Repo::planted(&[("docs/a.md", text), ("docs/format.md", other), ("README.md", "# Hi")])).len()
    }

    #[test]
    fn links_that_lead_somewhere_are_fine() {
        let text = "# Top\n[a](format.md) [b](../README.md#hi) [c](#top) [d](format.md#the-header-v1)\n\
                    [e](https://example.com/x) [f](../docs) [g](format.md#notes-1 \"title\")\n\n[h]: format.md\n";
        assert_eq!(check(text), 0);
    }

    #[test]
    fn links_to_nowhere_are_noticed() {
        for text in [
            "[a](gone.md)",
            "[a](../../x.md)",
            "[a](#no)",
            "[a](format.md#no)",
            "x\n[a]: gone.md",
            "*[a](b)*",
        ] {
            assert_eq!(check(text), 1, "{text}");
        }
    }

    #[test]
    fn code_holds_no_links() {
        assert_eq!(check("`[a](gone.md)`\n```\n[a](gone.md)\n# no heading\n```\n"), 0);
        assert_eq!(check("```\n# Top\n```\n[a](#top)"), 1);
    }

    #[test]
    fn a_file_that_went_away_is_noticed() {
        let text = "`storage/src/a.rs` `storage/src/gone.rs` `storage/` `a/b` `<crate>/tests/it/main.rs`";
        let repo = Repo::planted(&[("ARCHITECTURE.md", text), ("storage/src/a.rs", "")]);
        assert_eq!(named_files(&repo), ["ARCHITECTURE.md:1: storage/src/gone.rs does not exist"]);
    }
}
