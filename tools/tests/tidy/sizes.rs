//! How long functions and files may become. Limits only go down.

use super::lexer::Source;
use super::repo::Repo;

/// Lines of a function at most, from `fn` to the closing brace. Aim at 25.
const FUNCTION_LINES_MAX: usize = 70;

/// Lines of a file at most, without those only tests see. Aim at 100 to 300.
const FILE_LINES_MAX: usize = 600;

/// Functions that are too long, but for tests.
pub(crate) fn functions(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.sources().filter(|(path, _)| !is_test(path)) {
        let source = Source::new(text);
        let tests = source.test_items();
        for function in source.functions() {
            let lines = source.lines_in(&function.bytes);
            let in_test = tests.iter().any(|item| item.contains(&function.bytes.start));
            if lines > FUNCTION_LINES_MAX && !in_test {
                let at = source.line(function.bytes.start);
                complaints.push(format!(
                    "{path}:{at}: fn {} has {lines} lines, above {FUNCTION_LINES_MAX}",
                    function.name
                ));
            }
        }
    }
    complaints
}

/// Files that are too long.
pub(crate) fn files(repo: &Repo) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in repo.sources().filter(|(path, _)| !is_test(path)) {
        let source = Source::new(text);
        let tests: usize = source.test_items().iter().map(|item| source.lines_in(item)).sum();
        let lines = text.lines().count().saturating_sub(tests);
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{path}: {lines} lines without tests, above {FILE_LINES_MAX}"));
        }
    }
    complaints
}

/// Whether the whole file is test code.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

#[cfg(test)]
mod planted {
    use super::*;

    fn long(lines: usize, before: &str, after: &str) -> Repo {
        let body = "    let s = \"}\"; // }\n".repeat(lines - 2);
        let text = format!("{before}fn f() {{\n{body}}}\n{after}");
        Repo::planted(&[("index/src/a.rs", &text)])
    }

    #[test]
    fn one_line_too_many_is_noticed() {
        assert_eq!(functions(&long(70, "", "")).len(), 0);
        assert_eq!(functions(&long(71, "", "")).len(), 1);
        assert_eq!(files(&long(600, "", "")).len(), 0);
        assert_eq!(files(&long(601, "", "")).len(), 1);
    }

    #[test]
    fn tests_may_be_long() {
        let repo = long(700, "#[cfg(test)]\nmod tests {\n", "}\n");
        assert_eq!((functions(&repo).len(), files(&repo).len()), (0, 0));
    }
}
