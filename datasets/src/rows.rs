//! Rows of a file, in order.

use crate::stream::ByteStream;
use crate::vector_file::Layout;
use crate::{DatasetError, Result, VectorFile, vecs};

/// Reads the rows of a [`VectorFile`] in order with buffered reads; its own memory is about 1 MiB.
pub struct RowReader {
    stream: ByteStream,
    file: VectorFile,
    next: u64,
}

impl RowReader {
    pub(crate) fn new(file: &VectorFile, from: u64) -> Result<Self> {
        let mut stream = ByteStream::open(file.path(), file.is_gz())?;
        // cannot overflow: the length of the whole file was computed when it was opened
        let start = match file.layout() {
            Layout::Flat { header } => header + from * file.row_bytes() as u64,
            Layout::Vecs => from * (file.row_bytes() + vecs::PREFIX) as u64,
        };
        stream.skip(start)?;
        if stream.position() < start {
            return Err(stream.wrong_size(stream.position(), file.expected_len()?, file.shape()));
        }
        Ok(Self { stream, file: file.clone(), next: from })
    }

    /// Fills `out` with as many whole rows as fit, elements as in the file (little-endian), and returns
    /// their number; 0 at the end, or when `out` is shorter than one row. With the last row the end of the
    /// stream is checked too, so whoever has read every row knows that the file was whole.
    ///
    /// # Errors
    /// A file that ends early or goes on (it changed since it was opened, or is a lying gzip), rows of
    /// another dimension, a corrupt gzip stream, an I/O error.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        let row = self.file.row_bytes();
        let rows =
            (out.len() / row).min(usize::try_from(self.file.count() - self.next).unwrap_or(usize::MAX));
        let out = &mut out[..rows * row];
        match self.file.layout() {
            Layout::Flat { .. } => self.fill(out)?,
            Layout::Vecs => self.read_prefixed(out)?,
        }
        self.next += rows as u64;
        if rows > 0 && self.next == self.file.count() {
            let shape = self.file.shape();
            self.stream.expect_end(|| shape)?;
        }
        Ok(rows)
    }

    /// The row that the next [`read`](Self::read) starts with.
    pub fn position(&self) -> u64 {
        self.next
    }

    fn read_prefixed(&mut self, out: &mut [u8]) -> Result<()> {
        for (i, row) in out.chunks_exact_mut(self.file.row_bytes()).enumerate() {
            let mut prefix = [0; vecs::PREFIX];
            self.fill(&mut prefix)?;
            vecs::check_prefix(&self.stream, prefix, self.file.dim() as u32, self.next + i as u64)?;
            self.fill(row)?;
        }
        Ok(())
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        if self.stream.fill(out)? == out.len() {
            return Ok(());
        }
        let (file, found) = (self.file.path().to_owned(), self.stream.position());
        Err(DatasetError::Size { file, found, expected: self.file.expected_len()?, shape: self.file.shape() })
    }
}
