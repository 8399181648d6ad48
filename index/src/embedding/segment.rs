//! What a table is stored as: named runs of values.

use std::borrow::Cow;

use half::f16;

use crate::error::{IndexError, Result};
use crate::finite::first_not_finite;

/// The type of a segment's values. All are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Bytes: codes, bits, rows with parts of several types.
    U8,
    /// 16-bit unsigned integers.
    U16,
    /// 32-bit unsigned integers.
    U32,
    /// IEEE binary16.
    F16,
    /// IEEE binary32.
    F32,
    /// IEEE binary32 cut down to its upper half.
    BF16,
}

impl Dtype {
    /// All of them, in the order of their numbers in files.
    pub const ALL: [Self; 6] = [Self::U8, Self::U16, Self::U32, Self::F16, Self::F32, Self::BF16];

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::F32 => 4,
        }
    }
}

/// A named part of a table, `[row][width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment<'a> {
    /// Its name, one of a table's.
    pub name: Cow<'a, str>,
    /// The type of its values.
    pub dtype: Dtype,
    /// Values of a row.
    pub width: usize,
    /// All of it, little-endian.
    pub bytes: Cow<'a, [u8]>,
}

impl<'a> Segment<'a> {
    /// A segment of bytes.
    pub(super) fn bytes(name: &'a str, width: usize, bytes: &'a [u8]) -> Self {
        Self { name: name.into(), dtype: Dtype::U8, width, bytes: bytes.into() }
    }

    /// A segment of `f32` values.
    pub(super) fn floats(name: &'a str, width: usize, values: &'a [f32]) -> Self {
        Self { name: name.into(), dtype: Dtype::F32, width, bytes: bytemuck::cast_slice(values).into() }
    }

    /// A segment of `u32` values.
    pub(super) fn words(name: &'a str, width: usize, values: &'a [u32]) -> Self {
        Self { name: name.into(), dtype: Dtype::U32, width, bytes: bytemuck::cast_slice(values).into() }
    }
}

/// The segments a table is opened from.
#[derive(Clone, Copy, Debug)]
pub struct Segments<'a>(pub &'a [Segment<'a>]);

impl Segments<'_> {
    /// Whether there is a segment of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|segment| segment.name == name)
    }

    /// The bytes of a segment that must have `len` of them.
    pub(super) fn bytes(&self, name: &str, len: usize) -> Result<Vec<u8>> {
        Ok(self.find(name, Dtype::U8, len)?.to_vec())
    }

    /// The `f32` values of a segment that must have `len` of them.
    pub(super) fn floats(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        check_finite(name, bytemuck::pod_collect_to_vec(self.find(name, Dtype::F32, len)?))
    }

    /// The `u32` values of a segment that must have `len` of them.
    pub(super) fn words(&self, name: &str, len: usize) -> Result<Vec<u32>> {
        Ok(bytemuck::pod_collect_to_vec(self.find(name, Dtype::U32, len)?))
    }

    /// The `f16` values of a segment that must have `len` of them.
    pub(super) fn halves(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        let bytes = self.find(name, Dtype::F16, len)?.as_chunks::<2>().0;
        let values: Vec<f32> = bytes.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect();
        check_finite(name, values)
    }

    /// How many values a segment has.
    pub(super) fn len(&self, name: &str) -> Result<usize> {
        let segment = self.segment(name)?;
        Ok(segment.bytes.len() / segment.dtype.bytes())
    }

    fn segment(&self, name: &str) -> Result<&Segment<'_>> {
        self.0.iter().find(|segment| segment.name == name).ok_or_else(|| {
            let found: Vec<&str> = self.0.iter().map(|segment| &*segment.name).collect();
            IndexError::input("segments of a table", found.join(", "), format!("one named {name}"))
        })
    }

    fn find(&self, name: &str, dtype: Dtype, len: usize) -> Result<&[u8]> {
        let segment = self.segment(name)?;
        if segment.dtype != dtype || Some(segment.bytes.len()) != len.checked_mul(dtype.bytes()) {
            let found = format!("{} bytes of {:?}", segment.bytes.len(), segment.dtype);
            return Err(IndexError::input(
                format!("segment {name}"),
                found,
                format!("{len} values of {dtype:?}"),
            ));
        }
        Ok(&segment.bytes)
    }
}

fn check_finite(name: &str, values: Vec<f32>) -> Result<Vec<f32>> {
    match first_not_finite(&values).is_none() {
        true => Ok(values),
        false => {
            Err(IndexError::input(format!("segment {name}"), "a value that is no number", "finite values"))
        }
    }
}

/// The bytes of a table, by segment: everything a lookup needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeReport {
    /// Names of segments and their bytes.
    pub segments: Vec<(String, u64)>,
    /// Bytes of the same rows in `f32`.
    pub plain_bytes: u64,
}

impl SizeReport {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.segments.iter().map(|(_, bytes)| bytes).sum()
    }

    /// How many times smaller than plain `f32` rows.
    pub fn ratio(&self) -> f64 {
        self.plain_bytes as f64 / self.total().max(1) as f64
    }
}
