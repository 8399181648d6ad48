//! Row-wise integers: 8, 4 or 2 bits a value, with a scale and a bias a row, byte by byte as FBGEMM, torch and TBE.

use half::f16;

use crate::error::{IndexError, Result};
use crate::kernel::{Bag, Bags, CodeRows, Kernel};

use super::FitInput;
use super::rows::{RowCodec, Rows};
use super::table::Method;

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// 8-bit codes, then scale and bias in `f32`: FBGEMM's fused rows, torch's `embedding_bag_byte_prepack`.
    Fused32,
    /// Codes of 8, 4 or 2 bits, then scale and bias in `f16`: torch's 4-bit and 2-bit prepack.
    Fused16,
    /// Scale and bias in `f16`, then codes of 8, 4 or 2 bits chosen as in `Fused16`: TBE inference, as TorchRec fills it.
    Tbe,
    /// Scale and bias in `f16`, then 8-bit codes chosen as in `Fused32`: TBE inference, as FBGEMM's tools fill it.
    TbeCast,
}

impl Dialect {
    const ALL: [Self; 4] = [Self::Fused32, Self::Fused16, Self::Tbe, Self::TbeCast];

    /// Scale and bias in front of the codes.
    fn is_scale_first(self) -> bool {
        matches!(self, Self::Tbe | Self::TbeCast)
    }

    /// Bytes of scale and bias.
    fn param_bytes(self) -> usize {
        if self == Self::Fused32 { 8 } else { 4 }
    }
}

/// Rows of `⌈dim·bits/8⌉` bytes of codes, the first in the lowest bits, and a scale and a bias.
///
/// A value is `scale·code + bias`. Pooling adds in the order of ids, in `f32`: `acc_j = fma(w·scale, code_j, acc_j +
/// w·bias)`, from 0; every processor gives the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowwiseCodec {
    dim: usize,
    bits: usize,
    dialect: Dialect,
    align: usize,
}

impl RowwiseCodec {
    /// Rows of `dim` values of `bits` bits.
    ///
    /// # Errors
    /// When the dialect has no codes of so many bits.
    pub fn new(dim: usize, bits: usize, dialect: Dialect) -> Result<Self> {
        let allowed: &[usize] = match dialect {
            Dialect::Fused32 | Dialect::TbeCast => &[8],
            Dialect::Fused16 | Dialect::Tbe => &[8, 4, 2],
        };
        if !allowed.contains(&bits) {
            return Err(IndexError::option(
                "bits a value",
                bits,
                format!("one of {allowed:?} for {dialect:?}"),
            ));
        }
        Ok(Self { dim, bits, dialect, align: 1 })
    }

    /// The same, each row filled up with zeros to a multiple of `align` bytes: 1 on processors, 16 on graphics cards.
    ///
    /// # Errors
    /// When `align` is not 1 to 128, or no power of two.
    pub fn aligned(self, align: usize) -> Result<Self> {
        if !align.is_power_of_two() || align > 128 {
            return Err(IndexError::option("alignment of rows", align, "a power of two, 1 to 128"));
        }
        Ok(Self { align, ..self })
    }

    /// The most bits that the budget allows, in the dialect of torch: 8 bits with parameters in `f16`, then 4, then 2.
    ///
    /// # Errors
    /// When 2 bits a value are too many.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let codec = |bits| Self { dim: input.dim(), bits, dialect: Dialect::Fused16, align: 1 };
        let fits = |codec: &Self| (codec.row_bytes() * input.rows()) as u64 <= input.budget_bytes();
        let best = [8, 4].map(codec).into_iter().find(fits);
        Rows::fitted(best.unwrap_or(codec(2)), input)
    }

    /// Bits of a code.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Whose bytes these are.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn open(dim: usize, params: &[u64]) -> Option<Self> {
        let [bits, dialect, align] = *params else { return None };
        let dialect = *Dialect::ALL.get(usize::try_from(dialect).ok()?)?;
        Self::new(dim, usize::try_from(bits).ok()?, dialect).ok()?.aligned(usize::try_from(align).ok()?).ok()
    }

    fn code_bytes(&self) -> usize {
        (self.dim * self.bits).div_ceil(8)
    }

    fn layout<'a>(&self, rows: &'a [u8]) -> CodeRows<'a> {
        let (codes, params) = match self.dialect.is_scale_first() {
            true => (self.dialect.param_bytes(), 0),
            false => (0, self.code_bytes()),
        };
        let is_wide = self.dialect == Dialect::Fused32;
        CodeRows { bytes: rows, stride: self.row_bytes(), bits: self.bits, codes, params, is_wide }
    }

    /// Scale and bias as they are stored, and the codes.
    fn quantize(&self, values: &[f32]) -> (f32, f32, Vec<u8>) {
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let top = ((1u32 << self.bits) - 1) as f32;
        let (scale, bias, inverse) = match self.dialect {
            Dialect::Fused32 | Dialect::TbeCast => ((max - min) / top, min, top / ((max - min) + 1e-8)),
            Dialect::Fused16 | Dialect::Tbe => half_grid(min, max, top),
        };
        // Out of range is cut down, and what is no number becomes 0.
        let code = |&x: &f32| ((x - bias) * inverse).round_ties_even().clamp(0.0, top) as u8;
        (scale, bias, values.iter().map(code).collect())
    }
}

/// Scale, bias and inverse of the scale where both are kept in `f16`.
fn half_grid(min: f32, max: f32, top: f32) -> (f32, f32, f32) {
    let bias = f16::from_f32(min).to_f32();
    let range = max - bias;
    let scale = if range == 0.0 { 1.0 } else { f16::from_f32(range / top).to_f32() };
    let scale = if scale == 0.0 || (1.0 / scale).is_infinite() { 1.0 } else { scale };
    (scale, bias, 1.0 / scale)
}

impl RowCodec for RowwiseCodec {
    fn method(&self) -> Method {
        Method::Rowwise
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row_bytes(&self) -> usize {
        (self.code_bytes() + self.dialect.param_bytes()).next_multiple_of(self.align)
    }

    fn params(&self) -> Vec<u64> {
        vec![self.bits as u64, self.dialect as u64, self.align as u64]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        let (scale, bias, codes) = self.quantize(values);
        row.fill(0);
        let layout = self.layout(&[]);
        let (at, params) = (layout.codes, layout.params);
        for (i, code) in codes.iter().enumerate() {
            let bit = i * self.bits;
            row[at + bit / 8] |= code << (bit % 8);
        }
        if layout.is_wide {
            row[params..][..4].copy_from_slice(&scale.to_le_bytes());
            row[params + 4..][..4].copy_from_slice(&bias.to_le_bytes());
        } else {
            row[params..][..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
            row[params + 2..][..2].copy_from_slice(&f16::from_f32(bias).to_le_bytes());
        }
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        self.sum(row, &Bags { ids: &[0], offsets: &[0, 1], weights: None }, values);
    }

    fn add(&self, rows: &[u8], bag: &Bag<'_>, out: &mut [f32]) {
        Kernel::best().pool_codes(&self.layout(rows), bag, out);
    }

    fn sum(&self, rows: &[u8], bags: &Bags<'_>, out: &mut [f32]) {
        Kernel::best().sum_codes(&self.layout(rows), bags, self.dim, out);
    }

    /// Without decoding: `scale·Σ q_j·code_j + bias·Σ q_j`.
    fn products(&self, rows: &[u8], query: &[f32], ids: &[u64], out: &mut [f32]) {
        Kernel::best().code_products(&self.layout(rows), ids, query, out);
    }
}
