//! INT8 and INT16 of the study: one scale for all values.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::rows::{RowCodec, Rows};
use super::table::{Method, Table, check_ids};
use super::{FitInput, check_finite, check_len};

/// Rows of unsigned codes of 8 or 16 bits: a value is `code·scale + (middle − 2^(bits−1)·scale)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UniformCodec {
    dim: usize,
    bits: usize,
    scale: f32,
    middle: f32,
}

impl UniformCodec {
    /// Rows of `dim` codes of 8 or 16 bits around `middle`, `scale` apart.
    ///
    /// # Errors
    /// When `bits` is something else, `scale` not above zero, or either no number.
    pub fn new(dim: usize, bits: usize, scale: f32, middle: f32) -> Result<Self> {
        if bits != 8 && bits != 16 {
            return Err(IndexError::option("bits a value", bits, "8 or 16"));
        }
        if !(scale > 0.0 && scale.is_finite() && middle.is_finite()) {
            let found = format!("scale {scale}, middle {middle}");
            return Err(IndexError::input("grid of codes", found, "finite values, the scale above zero"));
        }
        Ok(Self { dim, bits, scale, middle })
    }

    /// The grid from the least to the greatest of all values; 16 bits if the budget allows them.
    ///
    /// # Errors
    /// When 8 bits a value are too many.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let bits = if (input.values().len() * 2) as u64 <= input.budget_bytes() { 16 } else { 8 };
        let min = input.values().iter().copied().fold(f32::INFINITY, f32::min);
        let max = input.values().iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let steps = f64::from((1u32 << bits) - 1);
        let scale = (((f64::from(max) - f64::from(min)) / steps) as f32).max(f32::MIN_POSITIVE);
        let middle = (f64::from(min) + f64::from(scale) * f64::from(1u32 << (bits - 1))) as f32;
        Rows::fitted(Self::new(input.dim(), bits, scale, middle)?, input)
    }

    pub(super) fn open(dim: usize, params: &[u64]) -> Option<Self> {
        let [bits, scale, middle] = *params else { return None };
        let float = |bits: u64| Some(f32::from_bits(u32::try_from(bits).ok()?));
        Self::new(dim, usize::try_from(bits).ok()?, float(scale)?, float(middle)?).ok()
    }

    /// The value of code 0.
    fn zero(&self) -> f32 {
        self.middle - self.scale * (1u32 << (self.bits - 1)) as f32
    }

    /// Encodes, the place of each value between two codes being moved up by `shift`: ½ rounds to nearest.
    fn encode_with(&self, values: &[f32], row: &mut [u8], shift: impl Fn(usize) -> f32) {
        let (zero, top) = (self.zero(), ((1u32 << self.bits) - 1) as f32);
        let width = self.bits / 8;
        for (j, (&value, out)) in values.iter().zip(row.chunks_exact_mut(width)).enumerate() {
            let code = ((value - zero) / self.scale + shift(j)).floor().clamp(0.0, top) as u16;
            out.copy_from_slice(&code.to_le_bytes()[..width]);
        }
    }
}

impl RowCodec for UniformCodec {
    fn method(&self) -> Method {
        Method::Uniform
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row_bytes(&self) -> usize {
        self.dim * self.bits / 8
    }

    fn params(&self) -> Vec<u64> {
        vec![self.bits as u64, self.scale.to_bits().into(), self.middle.to_bits().into()]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        self.encode_with(values, row, |_| 0.5);
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        let zero = self.zero();
        let value = |code: u16| f32::from(code) * self.scale + zero;
        if self.bits == 8 {
            values.iter_mut().zip(row).for_each(|(out, &code)| *out = value(code.into()));
        } else {
            let codes = row.as_chunks::<2>().0;
            values.iter_mut().zip(codes).for_each(|(out, &code)| *out = value(u16::from_le_bytes(code)));
        }
    }
}

impl Rows<UniformCodec> {
    /// A step of training on codes: rows as values, less `rate` times their gradients, rounded up or down by chance so
    /// that the mean is right. `step` is the number of the step; with `seed` it says how.
    ///
    /// # Errors
    /// When an id is out of range or repeated, or gradients do not fit or are no numbers. Nothing has changed then.
    pub fn train(&mut self, ids: &[u64], gradients: &[f32], rate: f32, seed: u64, step: u64) -> Result<()> {
        check_step(ids, gradients, self)?;
        let (&codec, bytes) = self.parts_mut();
        let mut values = vec![0.0; codec.dim];
        for (&id, gradient) in ids.iter().zip(gradients.chunks_exact(codec.dim)) {
            let row = &mut bytes[id as usize * codec.row_bytes()..][..codec.row_bytes()];
            codec.decode(row, &mut values);
            values.iter_mut().zip(gradient).for_each(|(value, g)| *value -= rate * g);
            codec.encode_with(&values, row, chance(seed, step, id));
        }
        Ok(())
    }
}

/// Uniform in 0..1 for each value of a row in a step.
pub(super) fn chance(seed: u64, step: u64, id: u64) -> impl Fn(usize) -> f32 {
    let random = Random::new(seed ^ step.rotate_left(32), id);
    move |j| (random.at(j as u64) >> 40) as f32 / (1u64 << 24) as f32
}

/// Refuses what is no step: ids are the table's, each once, with one finite gradient each.
pub(super) fn check_step(ids: &[u64], gradients: &[f32], table: &impl Table) -> Result<()> {
    check_ids(ids, table.rows())?;
    check_len("gradients", gradients.len(), ids.len() * table.dim())?;
    check_finite("gradients", table.dim(), gradients)?;
    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(IndexError::input("ids of a step", format!("{} twice", pair[0]), "each id once")),
        None => Ok(()),
    }
}
