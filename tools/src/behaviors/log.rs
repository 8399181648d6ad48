//! Logs of behaviours: lines of CSV or of JSON, or rows of Parquet, read one by one.

use std::io::Write;
use std::path::{Path, PathBuf};

use nearline::{Behavior, BehaviorError};
use serde::{Deserialize, Serialize};

use super::parquet;
use crate::exit;
use crate::import::Lines;

/// Columns that a log of CSV must have; it may have `vector`, numbers with blanks between them.
const COLUMNS: [&str; 4] = ["user", "event", "time", "item"];
const VECTOR: &str = "vector";

/// How a log of lines is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// A line of names, then a line for each behaviour, with commas between values
    Csv,
    /// A JSON object a line
    Jsonl,
}

impl Form {
    /// What the name of a file says, unless it is said.
    pub(crate) fn of(said: Option<Self>, path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match (said, extension.as_deref()) {
            (Some(form), _) => Ok(form),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("jsonl" | "ndjson")) => Ok(Self::Jsonl),
            (None, Some("parquet")) => {
                let path = path.display();
                Err(exit::usage(format!("{path}: Parquet is read and not written; expected .csv or .jsonl")))
            }
            _ => {
                let path = path.display();
                Err(exit::usage(format!(
                    "{path}: expected .csv, .jsonl or, to be read, .parquet; or --format"
                )))
            }
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Line {
    user: u64,
    event: u64,
    time: i64,
    item: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
}

/// A log that is read.
pub(crate) enum Log {
    Text(Text),
    Rows(parquet::Behaviors),
}

impl Log {
    /// Opens a file of the form that is said, or else of that which its name says.
    pub(crate) fn open(path: &Path, said: Option<Form>) -> anyhow::Result<Self> {
        if said.is_none() && parquet::is_named(path) {
            return Ok(Self::Rows(parquet::behaviors(path)?));
        }
        match Form::of(said, path)? {
            Form::Csv => Ok(Self::Text(Text::open_csv(path)?)),
            Form::Jsonl => Ok(Self::Text(Text { lines: Lines::open(path)?, places: None })),
        }
    }

    /// The log that was opened at a path, for what is said of it.
    pub(crate) fn place(&self, path: &Path) -> Named {
        let unit = if matches!(self, Self::Text(_)) { "line" } else { "behaviour" };
        Named { file: path.to_owned(), unit }
    }

    /// The next behaviour, and the number of its line or, of Parquet, its own; `None` behind the last.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<(u64, Behavior)>> {
        match self {
            Self::Text(text) => text.next(),
            Self::Rows(rows) => rows.next().transpose(),
        }
    }
}

/// A file whose lines or rows name items, for what is said of it.
pub(crate) struct Named {
    pub(crate) file: PathBuf,
    /// What is counted in it.
    pub(crate) unit: &'static str,
}

impl Named {
    /// What went wrong. Of an item that has no vector it is said where it is: `places` are items with numbers of lines.
    pub(crate) fn of(&self, error: BehaviorError, places: &[(u64, u64)]) -> anyhow::Error {
        let BehaviorError::UnknownItem { item, epoch } = error else { return error.into() };
        let number = places.iter().find(|(of, _)| *of == item);
        let place = number.map_or_else(String::new, |(_, number)| format!("{} {number}: ", self.unit));
        exit::bad_input(format!(
            "{}: {place}item {item} has no vector in epoch {epoch} of the space; give the vectors of items with --items, \
             or each line its own",
            self.file.display()
        ))
    }
}

/// A log of lines.
pub(crate) struct Text {
    lines: Lines,
    /// Where the columns are, of CSV; the last is that of the vector, if there is one.
    places: Option<([usize; 4], Option<usize>)>,
}

impl Text {
    fn open_csv(path: &Path) -> anyhow::Result<Self> {
        let mut lines = Lines::open(path)?;
        let names = lines.text()?.unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).collect();
        let place = |wanted: &str| names.iter().position(|name| *name == wanted);
        let found = COLUMNS.map(place);
        let [Some(user), Some(event), Some(time), Some(item)] = found else {
            let expected = COLUMNS.join(", ");
            return Err(lines.wrong(format!("found columns {names:?}; expected {expected}")));
        };
        let places = Some(([user, event, time, item], place(VECTOR)));
        Ok(Self { lines, places })
    }

    fn next(&mut self) -> anyhow::Result<Option<(u64, Behavior)>> {
        let Some(text) = self.lines.text()? else { return Ok(None) };
        let read = match &self.places {
            None => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Some((places, vector)) => csv(&text, places, *vector),
        };
        let Line { user, event, time, item, vector } = read.map_err(|error| self.lines.wrong(error))?;
        Ok(Some((self.lines.number(), Behavior { user, event, time, item, vector })))
    }
}

fn csv(text: &str, places: &[usize; 4], vector: Option<usize>) -> Result<Line, String> {
    fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
        value.trim().parse().map_err(|_| format!("{name}: found {value:?}; expected a number"))
    }
    let values: Vec<&str> = text.split(',').collect();
    let value = |place: usize, name: &str| {
        values.get(place).copied().ok_or_else(|| format!("found {} values; {name} is missing", values.len()))
    };
    let [user, event, time, item] = *places;
    let vector = match vector.map(|place| value(place, VECTOR)).transpose()?.map(str::trim) {
        None | Some("") => None,
        Some(numbers) => {
            Some(numbers.split_whitespace().map(|one| number(VECTOR, one)).collect::<Result<_, _>>()?)
        }
    };
    Ok(Line {
        user: number(COLUMNS[0], value(user, COLUMNS[0])?)?,
        event: number(COLUMNS[1], value(event, COLUMNS[1])?)?,
        time: number(COLUMNS[2], value(time, COLUMNS[2])?)?,
        item: number(COLUMNS[3], value(item, COLUMNS[3])?)?,
        vector,
    })
}

/// Writes the line of names, if there is one.
pub(crate) fn write_head(out: &mut impl Write, form: Form) -> std::io::Result<()> {
    match form {
        Form::Csv => writeln!(out, "{},{VECTOR}", COLUMNS.join(",")),
        Form::Jsonl => Ok(()),
    }
}

/// Writes a behaviour as a line.
pub(crate) fn write(out: &mut impl Write, form: Form, behavior: Behavior) -> anyhow::Result<()> {
    let Behavior { user, event, time, item, vector } = behavior;
    match form {
        Form::Jsonl => {
            serde_json::to_writer(&mut *out, &Line { user, event, time, item, vector })?;
            writeln!(out)?;
        }
        Form::Csv => {
            let vector = vector.unwrap_or_default();
            let vector = vector.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            writeln!(out, "{user},{event},{time},{item},{vector}")?;
        }
    }
    Ok(())
}
