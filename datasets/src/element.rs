//! The number types of vectors.

use std::path::Path;
use std::str::FromStr;

use half::f16;

use crate::{DatasetError, Result};

/// Type of a vector's components; little-endian in every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE-754 binary32.
    F32,
    /// IEEE-754 binary16.
    F16,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
}

impl ElementType {
    /// Every type.
    pub const ALL: [ElementType; 4] = [Self::F32, Self::F16, Self::U8, Self::I8];

    /// Bytes of one component.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 | Self::I8 => 1,
        }
    }

    /// `f32`, `f16`, `u8` or `i8`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
            Self::I8 => "i8",
        }
    }

    /// Widens components to f32, which is exact for every type. `bytes` holds `out.len()` components; a
    /// shorter input leaves the tail of `out` as it is.
    pub fn widen(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => each::<4>(bytes, out, f32::from_le_bytes),
            Self::F16 => each::<2>(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
            Self::U8 => each::<1>(bytes, out, |[b]| f32::from(b)),
            Self::I8 => each::<1>(bytes, out, |[b]| f32::from(i8::from_le_bytes([b]))),
        }
    }

    /// Rounds f32 numbers to this type and appends them to `out`: to the nearest, ties to even, clipped to
    /// the range of the integers.
    pub fn narrow(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            Self::F16 => out.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes())),
            // `as` saturates at the ends of the range
            Self::U8 => out.extend(values.iter().map(|v| v.round_ties_even() as u8)),
            Self::I8 => out.extend(values.iter().map(|v| v.round_ties_even() as i8 as u8)),
        }
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ElementType {
    type Err = DatasetError;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|element| element.name() == name)
            .ok_or_else(|| DatasetError::argument("element type", name, "f32, f16, u8 or i8"))
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; N]) -> f32) {
    for (value, chunk) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *value = convert(*chunk);
    }
}

/// Refuses NaN and infinities. `bytes` holds whole rows of `dim` components, the first being row
/// `first_row` of the file `path`, which is only named in the error.
pub fn check_finite(
    element: ElementType,
    bytes: &[u8],
    dim: usize,
    first_row: u64,
    path: &Path,
) -> Result<()> {
    let bad = match element {
        ElementType::F32 => position::<4>(bytes, |b| f32::from_le_bytes(b).is_finite()),
        ElementType::F16 => position::<2>(bytes, |b| f16::from_le_bytes(b).is_finite()),
        ElementType::U8 | ElementType::I8 => None,
    };
    let Some(at) = bad else { return Ok(()) };
    let mut found = [0.0];
    element.widen(&bytes[at * element.bytes()..], &mut found);
    let dim = dim.max(1);
    Err(DatasetError::NotFinite {
        file: path.to_owned(),
        row: first_row + (at / dim) as u64,
        component: at % dim,
        found: found[0],
    })
}

fn position<const N: usize>(bytes: &[u8], good: impl Fn([u8; N]) -> bool) -> Option<usize> {
    const RUN: usize = 1024; // whole runs first: no early exit inside, so that the loop is vectorized
    let (items, _) = bytes.as_chunks::<N>();
    let run = items.chunks(RUN).position(|run| !run.iter().fold(true, |all, &item| all & good(item)))?;
    items[run * RUN..].iter().position(|&item| !good(item)).map(|at| run * RUN + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_saturate_and_round_to_even() {
        let mut out = Vec::new();
        ElementType::I8.narrow(&[-1000.0, -0.5, 1.5, 2.5, 1000.0], &mut out);
        assert_eq!(out, [-128i8, 0, 2, 2, 127].map(|v| v as u8));
        out.clear();
        ElementType::U8.narrow(&[-3.0, 0.5, 254.6, 300.0], &mut out);
        assert_eq!(out, [0, 0, 255, 255]);
    }

    #[test]
    fn the_first_bad_number_is_named() {
        let mut values = vec![1.0f32; 5000];
        values[4003] = f32::NAN;
        values[4999] = f32::INFINITY;
        let mut bytes = Vec::new();
        ElementType::F32.narrow(&values, &mut bytes);
        let error = check_finite(ElementType::F32, &bytes, 10, 7, Path::new("x.fbin")).unwrap_err();
        assert!(error.to_string().starts_with("x.fbin: row 407 has NaN at component 3"), "{error}");
        bytes.clear();
        ElementType::F16.narrow(&values, &mut bytes);
        assert!(check_finite(ElementType::F16, &bytes, 10, 7, Path::new("x")).is_err());
        assert!(check_finite(ElementType::F16, &bytes[..8000], 10, 7, Path::new("x")).is_ok());
    }
}
