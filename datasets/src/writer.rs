//! Writing files of vectors.

use std::path::Path;

use crate::format::{self, Format, check_count, check_dim};
use crate::output::Output;
use crate::{DatasetError, ElementType, Result, bin, npy};

/// Writes one file of vectors; the extension tells the format (`fvecs bvecs fbin f16bin u8bin i8bin npy`,
/// plain only). Until [`finish`](Self::finish) the data stands under the name `<name>.partial`, so an interrupted
/// write leaves nothing that opens.
pub struct VectorWriter {
    output: Output,
    format: Format,
    element: ElementType,
    dim: usize,
    count: u64,
}

impl VectorWriter {
    /// Starts a file of rows of `dim` elements.
    ///
    /// # Errors
    /// An unknown or compressed extension, one that stands for another element type, a dimension outside
    /// 1 to 65,535, an I/O error.
    pub fn create(path: &Path, element: ElementType, dim: usize) -> Result<VectorWriter> {
        let (format, gz) = format::of_vectors(path)?;
        check_dim(path, dim as u64)?;
        if gz {
            let what = format!("{}: extension to write", path.display());
            return Err(DatasetError::argument(what, ".gz", "a plain file (compress it afterwards)"));
        }
        if let Format::Vecs(stored) | Format::Bin(stored) = format
            && stored != element
        {
            let what = format!("{}: elements to write", path.display());
            return Err(DatasetError::argument(what, element, format!("{stored}, by the extension")));
        }
        let mut output = Output::create(path)?;
        let writer_header = header(format, element, 0, dim);
        output.write(&writer_header)?;
        Ok(Self { output, format, element, dim, count: 0 })
    }

    /// Appends whole rows of little-endian elements.
    ///
    /// # Errors
    /// Bytes that are not whole rows, more rows than the format can count, an I/O error.
    pub fn write_rows(&mut self, bytes: &[u8]) -> Result<()> {
        let row = self.dim * self.element.bytes();
        if !bytes.len().is_multiple_of(row) {
            let what = format!("{}: bytes to write", self.output.path().display());
            return Err(DatasetError::argument(
                what,
                bytes.len(),
                format!("a multiple of {row} (whole rows)"),
            ));
        }
        self.count += (bytes.len() / row) as u64;
        if matches!(self.format, Format::Bin(_)) && self.count > u64::from(u32::MAX) {
            let expected = "at most 4294967295 (use npy)";
            return Err(DatasetError::header(self.output.path(), "number of rows", self.count, expected));
        }
        if !matches!(self.format, Format::Vecs(_)) {
            return self.output.write(bytes);
        }
        for row in bytes.chunks_exact(row) {
            self.output.write(&(self.dim as u32).to_le_bytes())?;
            self.output.write(row)?;
        }
        Ok(())
    }

    /// Rows written so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Puts the number of rows into the header, syncs the file and gives it its name.
    ///
    /// # Errors
    /// No row was written, or an I/O error; nothing is left then.
    pub fn finish(self) -> Result<()> {
        check_count(self.output.path(), self.count)?;
        self.output.finish(&header(self.format, self.element, self.count, self.dim))
    }
}

fn header(format: Format, element: ElementType, count: u64, dim: usize) -> Vec<u8> {
    match format {
        Format::Vecs(_) => Vec::new(),
        Format::Bin(_) => bin::header(count as u32, dim as u32).to_vec(), // checked in `write_rows`
        Format::Npy => npy::header(element, count, dim),
    }
}
