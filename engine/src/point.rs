//! Points: an id, vectors by name, a payload.

use std::collections::BTreeMap;

use half::f16;
use nearline_index::ElementType;

use crate::point_id::PointId;
use crate::value::Payload;

/// A vector as it is given or handed out. It is stored with the elements of the schema: f32 are rounded to f16 where
/// those are stored, and must be whole numbers in range where bytes are.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Vector {
    /// Of f32; also what f16 are handed out as.
    F32(Vec<f32>),
    /// Of unsigned bytes.
    U8(Vec<u8>),
    /// Of signed bytes.
    I8(Vec<i8>),
}

impl Vector {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stored bytes, or what of the vector does not fit.
    pub(crate) fn to_bytes(&self, element: ElementType) -> Result<Vec<u8>, String> {
        match (self, element) {
            (Self::U8(values), ElementType::U8) => Ok(values.clone()),
            (Self::I8(values), ElementType::I8) => Ok(values.iter().map(|x| x.cast_unsigned()).collect()),
            (Self::F32(values), _) => float_bytes(values.iter().copied(), element),
            (Self::U8(values), _) => float_bytes(values.iter().map(|&x| x.into()), element),
            (Self::I8(values), _) => float_bytes(values.iter().map(|&x| x.into()), element),
        }
    }

    /// A vector from its stored bytes.
    pub(crate) fn from_bytes(bytes: &[u8], element: ElementType) -> Self {
        match element {
            ElementType::F32 => {
                Self::F32(bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect())
            }
            ElementType::F16 => {
                Self::F32(bytes.as_chunks().0.iter().map(|x| f16::from_le_bytes(*x).to_f32()).collect())
            }
            ElementType::U8 => Self::U8(bytes.to_vec()),
            ElementType::I8 => Self::I8(bytes.iter().map(|x| x.cast_signed()).collect()),
        }
    }
}

/// Numbers as elements of a type.
fn float_bytes(values: impl ExactSizeIterator<Item = f32>, element: ElementType) -> Result<Vec<u8>, String> {
    let mut out = vec![0; values.len() * element.bytes()];
    match element {
        ElementType::F32 => {
            out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(to, value)| *to = value.to_le_bytes());
        }
        ElementType::F16 => {
            let half = |value: f32| f16::from_f32(value).to_le_bytes();
            out.as_chunks_mut().0.iter_mut().zip(values).for_each(|(to, value)| *to = half(value));
        }
        ElementType::U8 | ElementType::I8 => {
            let (low, high) = if element == ElementType::U8 { (0.0, 255.0) } else { (-128.0, 127.0) };
            for (to, value) in out.iter_mut().zip(values) {
                if value.fract() != 0.0 || !(low..=high).contains(&value) {
                    return Err(format!("{value}, which is no {element}"));
                }
                // Whole numbers below 0 are signed bytes.
                *to = (value as i16).cast_unsigned() as u8;
            }
        }
    }
    Ok(out)
}

impl From<Vec<f32>> for Vector {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<&[f32]> for Vector {
    fn from(values: &[f32]) -> Self {
        Self::F32(values.to_vec())
    }
}

impl<const N: usize> From<[f32; N]> for Vector {
    fn from(values: [f32; N]) -> Self {
        Self::F32(values.to_vec())
    }
}

impl From<Vec<u8>> for Vector {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values)
    }
}

impl From<Vec<i8>> for Vector {
    fn from(values: Vec<i8>) -> Self {
        Self::I8(values)
    }
}

/// A point.
///
/// ```
/// use nearline::{Payload, Point};
///
/// let point = Point::new(7)
///     .vector([0.25, 0.5])
///     .named_vector("image", [1.0, 2.0, 3.0])
///     .payload(Payload::new().with("city", "Berlin"));
/// assert_eq!(point.vectors.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What it is called.
    pub id: PointId,
    /// Its vectors by name; those it does not have are missing.
    pub vectors: BTreeMap<String, Vector>,
    /// Its payload.
    pub payload: Payload,
}

impl Point {
    /// A point without vectors and payload.
    pub fn new(id: impl Into<PointId>) -> Self {
        Self { id: id.into(), vectors: BTreeMap::new(), payload: Payload::new() }
    }

    /// The same with the vector whose name is empty.
    #[must_use]
    pub fn vector(self, vector: impl Into<Vector>) -> Self {
        self.named_vector("", vector)
    }

    /// The same with a vector of this name.
    #[must_use]
    pub fn named_vector(mut self, name: impl Into<String>, vector: impl Into<Vector>) -> Self {
        self.vectors.insert(name.into(), vector.into());
        self
    }

    /// The same with this payload.
    #[must_use]
    pub fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}
