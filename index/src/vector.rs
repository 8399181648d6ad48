//! Vectors as they come and as they are stored: rows of elements of one type.

use std::fmt;

use half::f16;

use crate::error::{IndexError, Result, SourceError};

/// The largest number of dimensions.
pub const DIM_MAX: usize = 65_535;

/// The position of a vector in the input: dense, internal, 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u32);

/// The type of a vector's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE-754 binary32.
    F32,
    /// IEEE-754 binary16.
    F16,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
}

impl ElementType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 | Self::I8 => 1,
        }
    }

    /// The type's name: `f32`, `f16`, `u8` or `i8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
            Self::I8 => "i8",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::U8 => 2,
            Self::I8 => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::F32, Self::F16, Self::U8, Self::I8].into_iter().find(|element| element.code() == code)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a build gets its vectors from. Every pass over them starts a new stream.
pub trait VectorSource: Send + Sync {
    /// The name to use in errors, usually a path.
    fn name(&self) -> String;
    /// The type of the elements.
    fn element(&self) -> ElementType;
    /// Elements of one vector.
    fn dim(&self) -> usize;
    /// Number of vectors.
    fn count(&self) -> u64;
    /// A number that changes when the content does: a file's length and time of change, say. A build is resumed only
    /// with the version it was begun with.
    fn version(&self) -> u64 {
        0
    }
    /// The row of the `at`-th vector: larger than that of the one before.
    fn row(&self, at: u64) -> RowId {
        RowId(at as u32)
    }
    /// The rows from `from` on, in order.
    fn rows(&self, from: u64) -> Result<Box<dyn RowStream + '_>, SourceError>;
}

/// A pass over the rows of a [`VectorSource`].
pub trait RowStream: Send {
    /// Fills whole rows of `out` (little-endian elements) and returns their number, 0 at the end.
    fn next_rows(&mut self, out: &mut [u8]) -> Result<usize, SourceError>;
}

/// The type and length of the vectors of one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The type of the elements.
    pub element: ElementType,
    /// Elements of one vector.
    pub dim: usize,
}

impl Shape {
    /// Bytes of one vector.
    pub fn row_bytes(self) -> usize {
        self.dim * self.element.bytes()
    }

    /// Widens one row to `f32`. Every element type fits exactly.
    pub(crate) fn widen(self, row: &[u8], out: &mut [f32]) {
        match self.element {
            ElementType::F32 => {
                for (out, bytes) in out.iter_mut().zip(row.as_chunks().0) {
                    *out = f32::from_le_bytes(*bytes);
                }
            }
            ElementType::F16 => {
                for (out, bytes) in out.iter_mut().zip(row.as_chunks().0) {
                    *out = f16::from_le_bytes(*bytes).to_f32();
                }
            }
            ElementType::U8 => out.iter_mut().zip(row).for_each(|(out, &x)| *out = f32::from(x)),
            ElementType::I8 => {
                out.iter_mut().zip(row).for_each(|(out, &x)| *out = f32::from(x.cast_signed()));
            }
        }
    }

    /// Refuses values no distance can be computed from: NaN, infinities, and zero vectors if `zero` is false.
    /// `first` is the row number of the first row, `name` where the rows come from.
    ///
    /// # Errors
    /// [`IndexError::BadInput`], naming the first such row.
    pub fn check_rows(self, rows: &[u8], first: u64, zero: bool, name: &str) -> Result<()> {
        for (i, row) in rows.chunks_exact(self.row_bytes()).enumerate() {
            if !self.is_finite(row) {
                return Err(IndexError::input(
                    name,
                    format!("row {} holds NaN or an infinity", first + i as u64),
                    "finite values",
                ));
            }
            if !zero && self.is_zero(row) {
                return Err(IndexError::input(
                    name,
                    format!("row {} is a zero vector", first + i as u64),
                    "vectors with a direction, as cosine distance needs one (or --metric l2 or ip)",
                ));
            }
        }
        Ok(())
    }

    fn is_finite(self, row: &[u8]) -> bool {
        // The exponent's bits are all ones in NaN and infinities, and nowhere else.
        match self.element {
            ElementType::F32 => {
                row.as_chunks().0.iter().all(|b| u32::from_le_bytes(*b) & 0x7F80_0000 != 0x7F80_0000)
            }
            ElementType::F16 => row.as_chunks().0.iter().all(|b| u16::from_le_bytes(*b) & 0x7C00 != 0x7C00),
            ElementType::U8 | ElementType::I8 => true,
        }
    }

    fn is_zero(self, row: &[u8]) -> bool {
        match self.element {
            ElementType::F32 => row.as_chunks().0.iter().all(|b| f32::from_le_bytes(*b) == 0.0),
            ElementType::F16 => row.as_chunks().0.iter().all(|b| u16::from_le_bytes(*b) & 0x7FFF == 0),
            ElementType::U8 | ElementType::I8 => row.iter().all(|&x| x == 0),
        }
    }
}

/// Vectors that lie in memory, row after row, as little-endian elements.
#[derive(Debug, Clone, Copy)]
pub struct VectorSlice<'a> {
    shape: Shape,
    rows: &'a [u8],
}

impl<'a> VectorSlice<'a> {
    /// Takes `rows` as vectors of a shape.
    ///
    /// # Errors
    /// When the bytes are no whole number of rows.
    pub fn new(shape: Shape, rows: &'a [u8]) -> Result<Self> {
        if shape.dim == 0 || !rows.len().is_multiple_of(shape.row_bytes()) {
            let expected = format!("a multiple of {} x {}", shape.element, shape.dim);
            return Err(IndexError::input("vectors", format!("{} bytes", rows.len()), expected));
        }
        Ok(Self { shape, rows })
    }

    /// Takes `values` as `f32` vectors of `dim` elements.
    ///
    /// # Errors
    /// When the values are no whole number of vectors.
    pub fn from_f32(dim: usize, values: &'a [f32]) -> Result<Self> {
        Self::new(Shape { element: ElementType::F32, dim }, bytemuck::cast_slice(values))
    }
}

impl VectorSource for VectorSlice<'_> {
    fn name(&self) -> String {
        "vectors".to_owned()
    }

    fn element(&self) -> ElementType {
        self.shape.element
    }

    fn dim(&self) -> usize {
        self.shape.dim
    }

    fn count(&self) -> u64 {
        (self.rows.len() / self.shape.row_bytes()) as u64
    }

    fn rows(&self, from: u64) -> Result<Box<dyn RowStream + '_>, SourceError> {
        let start = (from as usize).saturating_mul(self.shape.row_bytes()).min(self.rows.len());
        Ok(Box::new(SliceStream { row_bytes: self.shape.row_bytes(), rest: &self.rows[start..] }))
    }
}

struct SliceStream<'a> {
    row_bytes: usize,
    rest: &'a [u8],
}

impl RowStream for SliceStream<'_> {
    fn next_rows(&mut self, out: &mut [u8]) -> Result<usize, SourceError> {
        let rows = out.len().min(self.rest.len()) / self.row_bytes;
        let (now, later) = self.rest.split_at(rows * self.row_bytes);
        out[..now.len()].copy_from_slice(now);
        self.rest = later;
        Ok(rows)
    }
}
