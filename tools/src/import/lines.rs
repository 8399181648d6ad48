//! Files of lines, read one by one.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use nearline::{Payload, PointId};
use nearline_datasets::DatasetError;

use crate::exit;

/// Bytes of a line at most: more than a payload may have, however it is written.
const LINE_BYTES_MAX: u64 = 128 << 20;

/// A file of lines.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).map_err(|error| failed(path, "open", error))?;
        let reader = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path: path.to_owned(), reader, line: Vec::new(), number: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the line read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes of the line read last.
    pub(crate) fn bytes(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn is_at_end(&mut self) -> anyhow::Result<bool> {
        let rest = self.reader.fill_buf().map_err(|error| failed(&self.path, "read", error))?;
        Ok(rest.is_empty())
    }

    /// The next line as an id; `None` behind the last.
    pub(crate) fn id(&mut self) -> anyhow::Result<Option<PointId>> {
        if !self.advance()? {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&self.line);
        match text.trim().parse() {
            Ok(id) => Ok(Some(id)),
            Err(error) => Err(self.wrong(error)),
        }
    }

    /// The next line that is not blank, as it is; `None` behind the last.
    pub(crate) fn text(&mut self) -> anyhow::Result<Option<String>> {
        while self.advance()? {
            if !self.line.trim_ascii().is_empty() {
                let text = String::from_utf8(self.line.clone());
                return text.map(Some).map_err(|_| self.wrong("found what is not UTF-8"));
            }
        }
        Ok(None)
    }

    /// The next line as a payload; `None` behind the last.
    pub(crate) fn payload(&mut self) -> anyhow::Result<Option<Payload>> {
        if !self.advance()? {
            return Ok(None);
        }
        if self.line.trim_ascii().is_empty() {
            return Err(
                self.wrong("found an empty line; expected a JSON object, {} for a point without payload")
            );
        }
        let payload: Payload = serde_json::from_slice(&self.line).map_err(|error| {
            let text = error.to_string();
            // It counts lines, too; there is one here.
            let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
            self.wrong(format!("column {}: {reason}", error.column()))
        })?;
        payload.check().map_err(|error| self.wrong(error))?;
        Ok(Some(payload))
    }

    /// Reads a line, without its end. Says whether there was one.
    fn advance(&mut self) -> anyhow::Result<bool> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut self.line);
        if read.map_err(|error| failed(&self.path, "read", error))? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.line.pop_if(|byte| *byte == b'\n').is_none() && self.line.len() as u64 == LINE_BYTES_MAX {
            return Err(self.wrong(format!("found more than {LINE_BYTES_MAX} bytes in a line")));
        }
        Ok(true)
    }

    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> anyhow::Error {
        exit::bad_input(format!("{}: line {}: {what}", self.path.display(), self.number))
    }
}

fn failed(path: &Path, action: &'static str, source: std::io::Error) -> DatasetError {
    DatasetError::Io { file: path.to_owned(), action, source }
}
