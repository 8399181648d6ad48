//! Plain values.

use half::{bf16, f16};

use crate::error::Result;
use crate::kernel::{Bag, Kernel};

use super::FitInput;
use super::rows::{RowCodec, Rows};
use super::table::Method;

/// How a plain value is kept. Half the bytes are rounded to nearest, ties to even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatType {
    /// 4 bytes.
    F32,
    /// 2 bytes: 11 bits of precision, up to 65504.
    F16,
    /// 2 bytes: 8 bits of precision, as far as `f32`.
    Bf16,
}

impl FloatType {
    const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// Rows of plain values: `dim` times the bytes of a value each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatCodec {
    dim: usize,
    kind: FloatType,
}

impl FloatCodec {
    /// Rows of `dim` values.
    pub fn new(dim: usize, kind: FloatType) -> Self {
        Self { dim, kind }
    }

    /// The best type that the budget allows.
    ///
    /// # Errors
    /// When two bytes a value are too many.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let is_enough = (input.values().len() * 4) as u64 <= input.budget_bytes();
        let kind = if is_enough { FloatType::F32 } else { FloatType::F16 };
        Rows::fitted(Self::new(input.dim(), kind), input)
    }

    pub(super) fn open(dim: usize, params: &[u64]) -> Option<Self> {
        let [kind] = *params else { return None };
        Some(Self::new(dim, *FloatType::ALL.get(usize::try_from(kind).ok()?)?))
    }
}

impl RowCodec for FloatCodec {
    fn method(&self) -> Method {
        Method::Float
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row_bytes(&self) -> usize {
        self.dim * self.kind.bytes()
    }

    fn params(&self) -> Vec<u64> {
        vec![self.kind as u64]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        match self.kind {
            FloatType::F32 => row.copy_from_slice(bytemuck::cast_slice(values)),
            FloatType::F16 => put(values, row, |x| f16::from_f32(x).to_le_bytes()),
            FloatType::Bf16 => put(values, row, |x| bf16::from_f32(x).to_le_bytes()),
        }
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        // 1·x − 0 is x, down to the sign of a zero.
        values.fill(-0.0);
        self.add(row, &Bag::new(&[0], None), values);
    }

    fn add(&self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        let kernel = Kernel::best();
        match self.kind {
            FloatType::F32 => kernel.pool_f32(rows, bag, out),
            FloatType::F16 => kernel.pool_f16(rows, bag, out),
            FloatType::Bf16 => kernel.pool_bf16(rows, bag, out),
        }
    }
}

fn put(values: &[f32], row: &mut [u8], narrow: impl Fn(f32) -> [u8; 2]) {
    for (&value, out) in values.iter().zip(row.as_chunks_mut::<2>().0) {
        *out = narrow(value);
    }
}
