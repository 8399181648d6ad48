//! NumPy's `npy` files: magic, version, a Python dictionary as text, then the data
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use std::path::Path;

use crate::stream::ByteStream;
use crate::{DatasetError, ElementType, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest dictionary accepted; real ones have about 100 bytes.
const MAX_TEXT: usize = 65_536;
/// Bytes of the headers written here: fixed, so that the number of rows can be put in at the end.
pub(crate) const WRITTEN: usize = 128;
const DICTIONARY: &str = "a dictionary of 'descr', 'fortran_order' and 'shape' (save it with numpy.save)";

/// A checked header: C order, a simple type, any shape.
#[derive(Debug)]
pub(crate) struct Header {
    /// NumPy's name of the type, such as `<f4`.
    pub(crate) descr: String,
    pub(crate) shape: Vec<u64>,
    /// Bytes in front of the data.
    pub(crate) bytes: u64,
}

impl Header {
    /// Element type, rows and dimension of an array of vectors.
    pub(crate) fn vectors(&self, path: &Path) -> Result<(ElementType, u64, u64)> {
        let element = match self.descr.as_str() {
            "<f4" => ElementType::F32,
            "<f2" => ElementType::F16,
            "|u1" => ElementType::U8,
            "|i1" => ElementType::I8,
            other => {
                return Err(DatasetError::header(
                    path,
                    "npy type",
                    other,
                    "<f4, <f2, |u1 or |i1 (use astype)",
                ));
            }
        };
        match self.shape[..] {
            [rows, dim] => Ok((element, rows, dim)),
            _ => Err(self.wrong_shape(path, "two dimensions: rows, components")),
        }
    }

    pub(crate) fn wrong_shape(&self, path: &Path, expected: &str) -> DatasetError {
        DatasetError::header(path, "npy shape", format!("{:?}", self.shape), expected)
    }
}

/// Reads and checks the header of the file that `stream` has just opened.
pub(crate) fn read_header(stream: &mut ByteStream) -> Result<Header> {
    let path = stream.path().to_owned();
    let mut start = [0; 8];
    stream.fill_header(&mut start, 10)?;
    if &start[..6] != MAGIC {
        return Err(DatasetError::header(&path, "npy magic", format!("{:02x?}", &start[..6]), "\\x93NUMPY"));
    }
    let mut len = [0; 4];
    match start[6..] {
        [1, 0] => stream.fill_header(&mut len[..2], 10)?,
        [2 | 3, 0] => stream.fill_header(&mut len, 12)?,
        _ => {
            let found = format!("{}.{}", start[6], start[7]);
            return Err(DatasetError::header(&path, "npy version", found, "1.0, 2.0 or 3.0"));
        }
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_TEXT {
        let expected = format!("at most {MAX_TEXT} (an array of plain numbers)");
        return Err(DatasetError::header(&path, "npy header length", len, expected));
    }
    let mut text = vec![0; len];
    stream.fill_header(&mut text, stream.position() + len as u64)?;
    let (descr, shape) = parse(&path, &text)?;
    Ok(Header { descr, shape, bytes: stream.position() })
}

/// The header of an array of vectors, [`WRITTEN`] bytes.
pub(crate) fn header(element: ElementType, rows: u64, dim: usize) -> Vec<u8> {
    let descr = match element {
        ElementType::F32 => "<f4",
        ElementType::F16 => "<f2",
        ElementType::U8 => "|u1",
        ElementType::I8 => "|i1",
    };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend(((WRITTEN - 10) as u16).to_le_bytes());
    out.extend(text.as_bytes());
    out.resize(WRITTEN - 1, b' ');
    out.push(b'\n');
    out
}

/// Type and shape out of the dictionary.
fn parse(path: &Path, text: &[u8]) -> Result<(String, Vec<u64>)> {
    let bad = || {
        let shown = String::from_utf8_lossy(&text[..text.len().min(120)]).into_owned();
        DatasetError::header(path, "npy header", format!("{shown:?}"), DICTIONARY)
    };
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let mut cursor = Cursor(text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?);
    let (mut descr, mut fortran, mut shape) = (None, None, None);
    while !cursor.at_end() {
        let key = cursor.quoted().ok_or_else(bad)?;
        cursor.token(":").ok_or_else(bad)?;
        match key {
            "descr" if cursor.token("[").is_some() => {
                return Err(DatasetError::header(path, "npy type", "a structured array", "plain numbers"));
            }
            "descr" => descr = Some(cursor.quoted().ok_or_else(bad)?),
            "fortran_order" => fortran = Some(cursor.boolean().ok_or_else(bad)?),
            "shape" => shape = Some(cursor.tuple().ok_or_else(bad)?),
            _ => return Err(bad()),
        }
        if cursor.token(",").is_none() && !cursor.at_end() {
            return Err(bad());
        }
    }
    let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else { return Err(bad()) };
    if fortran {
        return Err(DatasetError::header(path, "npy order", "fortran", "C (use numpy.ascontiguousarray)"));
    }
    if descr.starts_with('>') {
        return Err(DatasetError::header(path, "npy byte order", descr, "little-endian (use astype)"));
    }
    Ok((descr.to_owned(), shape))
}

/// What is left of a Python literal.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn at_end(&mut self) -> bool {
        self.0 = self.0.trim_start();
        self.0.is_empty()
    }

    fn token(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (word, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        Some(word)
    }

    fn boolean(&mut self) -> Option<bool> {
        self.token("True").map(|()| true).or_else(|| self.token("False").map(|()| false))
    }

    fn tuple(&mut self) -> Option<Vec<u64>> {
        self.token("(")?;
        let (inside, rest) = self.0.split_once(')')?;
        self.0 = rest;
        let inside = inside.trim();
        let inside = inside.strip_suffix(',').unwrap_or(inside);
        if inside.is_empty() {
            return Some(Vec::new());
        }
        inside.split(',').map(|n| n.trim().trim_end_matches('L').parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match parse(Path::new("x.npy"), text.as_bytes()) {
            Ok((descr, shape)) => format!("{descr} {shape:?}"),
            Err(e) => e.to_string(),
        };
        assert!(found.contains(expected), "{text}: {found}");
    }

    #[test]
    fn dictionaries() {
        check("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  \n", "<f4 [3, 2]");
        check("{\"shape\":(3,),\"descr\":\"|u1\",\"fortran_order\":False}", "|u1 [3]");
        check("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "<f4 []");
        check("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", "found fortran");
        check("{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }", "found >f4");
        check("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2), }", "structured");
        check("{'descr': '<f4', 'fortran_order': False}", "a dictionary of");
        check("{'descr': '<f4' 'fortran_order': False}", "a dictionary of");
        check("{'descr': '<f4', 'fortran_order': False, 'shape': (3, -2), }", "a dictionary of");
        check(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2)}",
            "a dictionary of",
        );
        check("", "a dictionary of");
        check("{'descr", "a dictionary of");
    }

    #[test]
    fn the_written_header_is_read_back() {
        let header = header(ElementType::F16, u64::MAX, 65_535);
        assert_eq!(header.len(), WRITTEN);
        let (descr, shape) = parse(Path::new("x"), &header[10..]).unwrap();
        assert_eq!((descr.as_str(), shape), ("<f2", vec![u64::MAX, 65_535]));
    }
}
