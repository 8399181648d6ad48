//! A file's bytes from start to end, gzip undone on the way.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{DatasetError, Result};

/// Buffer between us and the file; larger reads bypass it.
const BUFFER: usize = 1 << 20;
/// Buffer of compressed bytes.
const GZ_BUFFER: usize = 1 << 16;

/// Sequential bytes with a position; memory is bounded by the buffers above.
pub(crate) struct ByteStream {
    path: PathBuf,
    inner: Inner,
    position: u64,
}

enum Inner {
    Plain(BufReader<File>),
    Gz(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

impl ByteStream {
    /// Opens a regular file that is not empty.
    pub(crate) fn open(path: &Path, gz: bool) -> Result<Self> {
        if plain_len(path)? == 0 {
            return Err(DatasetError::Empty { file: path.to_owned() });
        }
        let file = File::open(path).map_err(|e| DatasetError::io(path, "open", e))?;
        let inner = if gz {
            let decoder = MultiGzDecoder::new(BufReader::with_capacity(GZ_BUFFER, file));
            Inner::Gz(Box::new(BufReader::with_capacity(BUFFER, decoder)))
        } else {
            Inner::Plain(BufReader::with_capacity(BUFFER, file))
        };
        Ok(Self { path: path.to_owned(), inner, position: 0 })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes consumed so far, after decompression.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Fills `out` as far as there are bytes; fewer than `out.len()` only at the end.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            let read = match &mut self.inner {
                Inner::Plain(file) => file.read(&mut out[filled..]),
                Inner::Gz(gz) => gz.read(&mut out[filled..]),
            };
            match read {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.error(e)),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    /// Fills `out` from a header whose whole length is `expected` bytes.
    pub(crate) fn fill_header(&mut self, out: &mut [u8], expected: u64) -> Result<()> {
        if self.fill(out)? < out.len() {
            return Err(self.wrong_size(self.position, expected, "the header".into()));
        }
        Ok(())
    }

    /// Skips bytes: by a seek in a plain file, by decompressing otherwise. Stops early at the end of a
    /// compressed stream.
    pub(crate) fn skip(&mut self, bytes: u64) -> Result<()> {
        let skipped = match &mut self.inner {
            Inner::Plain(file) => file.seek(SeekFrom::Start(self.position + bytes)).map(|_| bytes),
            Inner::Gz(gz) => io::copy(&mut gz.take(bytes), &mut io::sink()),
        };
        self.position += skipped.map_err(|e| self.error(e))?;
        Ok(())
    }

    /// Fails unless the stream ends here. For gzip this also checks the trailing checksum.
    pub(crate) fn expect_end(&mut self, shape: impl FnOnce() -> String) -> Result<()> {
        let expected = self.position;
        match self.fill(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.wrong_size(expected + 1, expected, shape())),
        }
    }

    pub(crate) fn wrong_size(&self, found: u64, expected: u64, shape: String) -> DatasetError {
        DatasetError::Size { file: self.path.clone(), found, expected, shape }
    }

    fn error(&self, source: io::Error) -> DatasetError {
        let damaged = matches!(
            source.kind(),
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
        );
        match self.inner {
            Inner::Gz(_) if damaged => DatasetError::Gzip { file: self.path.clone(), source },
            _ => DatasetError::io(&self.path, "read", source),
        }
    }
}

/// Length of a regular file in bytes.
pub(crate) fn plain_len(path: &Path) -> Result<u64> {
    let meta = std::fs::metadata(path).map_err(|e| DatasetError::io(path, "open", e))?;
    if !meta.is_file() {
        let source = io::Error::new(ErrorKind::InvalidInput, "not a regular file");
        return Err(DatasetError::io(path, "open", source));
    }
    Ok(meta.len())
}
