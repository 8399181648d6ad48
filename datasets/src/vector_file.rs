//! A file of vectors, opened by its header.

use std::path::{Path, PathBuf};

use crate::format::{self, Format, check_count, check_dim};
use crate::rows::RowReader;
use crate::stream::{ByteStream, plain_len};
use crate::{DatasetError, ElementType, Result, bin, npy, vecs};

/// A checked file of vectors: `count` rows of `dim` elements.
///
/// The extension tells the format: `fvecs`, `bvecs` (each row led by its dimension), `fbin`, `f16bin`,
/// `u8bin`, `i8bin` (u32 rows, u32 dimension, rows) or `npy` (two dimensions, C order, `<f4 <f2 |u1 |i1`),
/// each also with `.gz` behind it.
#[derive(Clone, Debug)]
pub struct VectorFile {
    path: PathBuf,
    element: ElementType,
    dim: usize,
    count: u64,
    layout: Layout,
    gz: bool,
}

/// Where rows lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Rows of equal length after so many bytes.
    Flat { header: u64 },
    /// Rows, each led by its dimension.
    Vecs,
}

impl VectorFile {
    /// Reads the header and compares it with the file's length: a plain file must have exactly the bytes
    /// that its header promises. The length of a compressed file is checked when its last row is read,
    /// except for `fvecs.gz` and `bvecs.gz`, which have no count and are read through once here.
    ///
    /// # Errors
    /// Everything that can be wrong with a file, see [`DatasetError`].
    pub fn open(path: &Path) -> Result<VectorFile> {
        let (format, gz) = format::of_vectors(path)?;
        Self::open_as(path, format, gz)
    }

    /// The same of a file of `npy`, whatever its name.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_npy(path: &Path) -> Result<VectorFile> {
        Self::open_as(path, Format::Npy, false)
    }

    fn open_as(path: &Path, format: Format, gz: bool) -> Result<VectorFile> {
        let mut stream = ByteStream::open(path, gz)?;
        let (element, dim, count, layout) = match format {
            Format::Vecs(element) => {
                let (dim, count) = vecs::shape(&mut stream, element.bytes(), gz)?;
                (element, dim, count, Layout::Vecs)
            }
            Format::Bin(element) => {
                let (count, dim) = bin::read_header(&mut stream)?;
                (
                    element,
                    check_dim(path, dim.into())?,
                    count.into(),
                    Layout::Flat { header: bin::HEADER as u64 },
                )
            }
            Format::Npy => {
                let header = npy::read_header(&mut stream)?;
                let (element, count, dim) = header.vectors(path)?;
                (element, check_dim(path, dim)?, count, Layout::Flat { header: header.bytes })
            }
        };
        let file = Self { path: path.to_owned(), element, dim, count: check_count(path, count)?, layout, gz };
        file.check_len()?;
        Ok(file)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Type of its elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Elements per row, 1 to 65,535.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows, at least 1.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of one row's elements.
    pub fn row_bytes(&self) -> usize {
        self.dim * self.element.bytes()
    }

    /// Reads rows in order, starting at row `from` (at most [`count`](Self::count)): a seek in a plain file,
    /// a decompression of everything before it otherwise.
    pub fn rows(&self, from: u64) -> Result<RowReader> {
        if from > self.count {
            let what = format!("{}: first row", self.path.display());
            return Err(DatasetError::argument(what, from, format!("at most {}", self.count)));
        }
        RowReader::new(self, from)
    }

    pub(crate) fn is_gz(&self) -> bool {
        self.gz
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// The shape in words, for errors.
    pub(crate) fn shape(&self) -> String {
        format!("{} rows x {} {}", self.count, self.dim, self.element)
    }

    /// Bytes of the whole file after decompression, as its header promises.
    pub(crate) fn expected_len(&self) -> Result<u64> {
        let (header, prefix) = match self.layout {
            Layout::Flat { header } => (header, 0),
            Layout::Vecs => (0, vecs::PREFIX),
        };
        let rows = self.count.checked_mul((self.row_bytes() + prefix) as u64);
        rows.and_then(|bytes| bytes.checked_add(header)).ok_or_else(|| {
            DatasetError::header(&self.path, "shape", self.shape(), "fewer than 2^64 bytes in all")
        })
    }

    fn check_len(&self) -> Result<()> {
        let expected = self.expected_len()?;
        if self.gz {
            return Ok(());
        }
        let found = plain_len(&self.path)?;
        if found != expected {
            return Err(DatasetError::Size { file: self.path.clone(), found, expected, shape: self.shape() });
        }
        Ok(())
    }
}
