//! Figures of other systems, as lines of JSON.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use nearline_datasets::DatasetError;
use serde_json::Value;

use crate::exit;
use crate::plot::{Point, Series};

/// Files of more bytes are no figures to compare with.
const BYTES_MAX: u64 = 1 << 20;
/// Names are cut to fit the legend.
const NAME_CHARS: usize = 60;
/// What a line should be.
const EXPECTED: &str = "an object with system, recall, qps, p99_us and bytes_per_query";

/// Reads all files. Each system's name may come from one of them only, and none may have `own`.
pub(crate) fn read(paths: &[PathBuf], own: &str) -> anyhow::Result<Vec<Series>> {
    let mut all: Vec<(Series, &Path)> = Vec::new();
    for path in paths {
        let bytes = load(path)?;
        let lines = bytes.split(|&byte| byte == b'\n').enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let wrong = |what| exit::bad_input(format!("{}: line {}: {what}", path.display(), number + 1));
            let (system, point) = parse(line).map_err(wrong)?;
            if system == own {
                let what = format!("found system {system:?}, expected one other than --label {own:?}");
                return Err(wrong(what));
            }
            match all.iter_mut().find(|(series, _)| series.name == system) {
                Some((series, from)) if *from == path => series.points.push(point),
                Some((_, from)) => {
                    let from = from.display();
                    return Err(wrong(format!(
                        "found system {system:?}, expected one that is not in {from}"
                    )));
                }
                None => all.push((Series { name: system, points: vec![point] }, path)),
            }
        }
        if !all.iter().any(|(_, from)| from == path) {
            return Err(exit::bad_input(format!("{}: found no lines, expected {EXPECTED}", path.display())));
        }
    }
    Ok(all.into_iter().map(|(series, _)| series).collect())
}

fn load(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| DatasetError::Io { file: path.to_owned(), action: "read", source })?;
    if bytes.len() as u64 > BYTES_MAX {
        let message = format!("{}: found more than {BYTES_MAX} bytes, expected fewer", path.display());
        return Err(exit::bad_input(message));
    }
    Ok(bytes)
}

fn parse(line: &[u8]) -> Result<(String, Point), String> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| format!("found no JSON at column {}, expected {EXPECTED}", error.column()))?;
    if !value.is_object() {
        return Err(format!("found {}, expected {EXPECTED}", short(&value)));
    }
    let system = match value.get("system") {
        Some(Value::String(name)) if !name.trim().is_empty() => {
            name.trim().chars().take(NAME_CHARS).collect()
        }
        other => return Err(format!("system: found {}, expected a name", found(other))),
    };
    let number = |field| match value.get(field) {
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(Value::Null) | None => Ok(None),
        other => Err(format!("{field}: found {}, expected a number", found(other))),
    };
    let needed = |field| number(field)?.ok_or_else(|| format!("{field}: found nothing, expected a number"));
    let (recall, qps, p99_us) = (needed("recall")?, needed("qps")?, needed("p99_us")?);
    // Ours says 0 of an index that is all in RAM.
    let bytes_per_query = number("bytes_per_query")?.filter(|&bytes| bytes != 0.0);
    let point = Point { recall, qps, p99_us, bytes_per_query };
    point.check()?;
    Ok((system, point))
}

fn found(value: Option<&Value>) -> String {
    value.map_or("nothing".into(), short)
}

/// A value, or how it begins.
fn short(value: &Value) -> String {
    const CHARS: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Series>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = read(&[file.path().to_owned()], "ours");
        let name = file.path().display().to_string();
        read.map_err(|error| error.to_string().replace(&name, "FILE"))
    }

    #[test]
    fn lines_become_series() {
        let text = r#"{"system":"b","recall":0.9,"qps":100,"p99_us":2e3,"bytes_per_query":null,"more":[1]}

{"p99_us":5,"qps":1.5,"recall":1,"system":"a","bytes_per_query":4096}
{"system":"b","recall":0.95,"qps":50,"p99_us":4000}"#;
        let series = read_text(text).unwrap();
        let names: Vec<_> = series.iter().map(|series| (&series.name[..], series.points.len())).collect();
        assert_eq!(names, [("b", 2), ("a", 1)]);
        let a = Point { recall: 1.0, qps: 1.5, p99_us: 5.0, bytes_per_query: Some(4096.0) };
        assert_eq!(series[1].points, [a]);
        assert_eq!(series[0].points[0].bytes_per_query, None);
    }

    #[track_caller]
    fn check_refused(line: &str, words: &str) {
        let good = r#"{"system":"a","recall":0.9,"qps":1,"p99_us":1}"#;
        let error = read_text(&format!("{good}\n{line}\n")).unwrap_err();
        assert!(error.starts_with("FILE: line 2: ") && error.contains(words), "{line}: {error}");
        assert!(error.contains("expected") && error.contains("found"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        check_refused("{", "column 1");
        check_refused("[1, 2]", "[1,2]");
        check_refused("\u{0}", "no JSON");
        let line = |system, recall, qps| {
            format!(r#"{{"system":{system},"recall":{recall},"qps":{qps},"p99_us":1}}"#)
        };
        check_refused(&line("7", "0.9", "1"), "system: found 7");
        check_refused(&line("\" \"", "0.9", "1"), "system");
        check_refused(&line("\"ours\"", "0.9", "1"), "--label \"ours\"");
        check_refused(&line("\"a\"", "NaN", "1"), "no JSON");
        check_refused(&line("\"a\"", "1.01", "1"), "recall: found 1.01");
        check_refused(&line("\"a\"", "-0.1", "1"), "recall: found -0.1");
        check_refused(&line("\"a\"", "null", "1"), "recall: found nothing");
        check_refused(&line("\"a\"", "0.9", "0"), "qps: found 0");
        check_refused(&line("\"a\"", "0.9", "1e400"), "no JSON");
        check_refused(&line("\"a\"", "0.9", "\"fast\""), "qps: found \"fast\"");
        check_refused(
            r#"{"system":"a","recall":0.9,"qps":1,"p99_us":1,"bytes_per_query":-1}"#,
            "bytes_per_query",
        );
    }

    #[test]
    fn a_file_has_figures_and_not_too_many() {
        for empty in ["", " \n\n"] {
            assert!(read_text(empty).unwrap_err().contains("FILE: found no lines"));
        }
        let long = " ".repeat(BYTES_MAX as usize + 1);
        assert!(read_text(&long).unwrap_err().contains("1048576"));
    }

    #[test]
    fn a_system_comes_from_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["x", "y"].map(|name| dir.path().join(name));
        for path in &paths {
            std::fs::write(path, r#"{"system":"a","recall":0.9,"qps":1,"p99_us":1}"#).unwrap();
        }
        let error = read(&paths, "ours").unwrap_err().to_string();
        assert!(error.contains("y: line 1") && error.contains("x"), "{error}");
    }
}
