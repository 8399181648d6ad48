//! ALPT: integers whose step each row learns.

use crate::error::{IndexError, Result};

use super::FitInput;
use super::rows::{RowCodec, Rows};
use super::table::Method;
use super::uniform::{chance, check_step};

/// Rows of signed codes of 8 or 16 bits and a step in `f32` behind them: a value is `code·step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCodec {
    dim: usize,
    bits: usize,
}

impl StepCodec {
    /// Rows of `dim` codes of 8 or 16 bits.
    ///
    /// # Errors
    /// When `bits` is something else.
    pub fn new(dim: usize, bits: usize) -> Result<Self> {
        match bits {
            8 | 16 => Ok(Self { dim, bits }),
            _ => Err(IndexError::option("bits a value", bits, "8 or 16")),
        }
    }

    /// The step of each row such that its greatest value has the greatest code; 16 bits if the budget allows them.
    ///
    /// # Errors
    /// When 8 bits a value are too many.
    pub fn fit(input: &FitInput<'_>) -> Result<Rows<Self>> {
        let wide = Self { dim: input.dim(), bits: 16 };
        let is_enough = (wide.row_bytes() * input.rows()) as u64 <= input.budget_bytes();
        Rows::fitted(if is_enough { wide } else { Self { bits: 8, ..wide } }, input)
    }

    pub(super) fn open(dim: usize, params: &[u64]) -> Option<Self> {
        let [bits] = *params else { return None };
        Self::new(dim, usize::try_from(bits).ok()?).ok()
    }

    /// The greatest code; the least is one below its negative.
    fn top(&self) -> f32 {
        ((1u32 << (self.bits - 1)) - 1) as f32
    }

    fn step(&self, row: &[u8]) -> f32 {
        row.last_chunk().map_or(0.0, |&bytes| f32::from_le_bytes(bytes))
    }

    fn encode_with(&self, values: &[f32], step: f32, row: &mut [u8], shift: impl Fn(usize) -> f32) {
        let (width, top) = (self.bits / 8, self.top());
        let (codes, stored) = row.split_at_mut(self.dim * width);
        for (j, (&value, out)) in values.iter().zip(codes.chunks_exact_mut(width)).enumerate() {
            let code = (value / step + shift(j)).floor().clamp(-top - 1.0, top) as i16;
            out.copy_from_slice(&code.to_le_bytes()[..width]);
        }
        stored.copy_from_slice(&step.to_le_bytes());
    }

    /// What the step's gradient is made of for one value: how far its code is from it, or the end of the range beyond it
    /// (learned step size quantisation).
    fn step_slope(&self, value: f32, step: f32) -> f32 {
        let place = value / step;
        let nearest = place.round_ties_even().clamp(-self.top() - 1.0, self.top());
        if (-self.top() - 1.0..=self.top()).contains(&place) { nearest - place } else { nearest }
    }
}

impl RowCodec for StepCodec {
    fn method(&self) -> Method {
        Method::Step
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn row_bytes(&self) -> usize {
        self.dim * self.bits / 8 + 4
    }

    fn params(&self) -> Vec<u64> {
        vec![self.bits as u64]
    }

    fn encode(&self, values: &[f32], row: &mut [u8]) {
        let greatest = values.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
        let step = (greatest / self.top()).max(f32::MIN_POSITIVE);
        self.encode_with(values, step, row, |_| 0.5);
    }

    fn decode(&self, row: &[u8], values: &mut [f32]) {
        let step = self.step(row);
        if self.bits == 8 {
            values.iter_mut().zip(row).for_each(|(out, &code)| *out = f32::from(code as i8) * step);
        } else {
            let codes = row.as_chunks::<2>().0;
            values
                .iter_mut()
                .zip(codes)
                .for_each(|(out, &code)| *out = f32::from(i16::from_le_bytes(code)) * step);
        }
    }
}

/// How a step of ALPT goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTraining {
    /// The learning rate of values.
    pub rate: f32,
    /// The learning rate of steps.
    pub step_rate: f32,
    /// Samples of a batch, which the gradients of steps are scaled by.
    pub batch: usize,
    /// With the number of the step, how values are rounded.
    pub seed: u64,
}

impl Rows<StepCodec> {
    /// A step of training on codes: values less their gradients, then the row's step along its own gradient, times
    /// `1/√(batch·dim·top)`, then rounding up or down by chance so that the mean is right.
    ///
    /// # Errors
    /// When an id is out of range or repeated, or gradients do not fit or are no numbers. Nothing has changed then.
    pub fn train(&mut self, ids: &[u64], gradients: &[f32], how: &StepTraining, number: u64) -> Result<()> {
        check_step(ids, gradients, self)?;
        let (&codec, bytes) = self.parts_mut();
        let scale = 1.0 / ((how.batch.max(1) * codec.dim) as f32 * codec.top()).sqrt();
        let mut values = vec![0.0; codec.dim];
        for (&id, gradient) in ids.iter().zip(gradients.chunks_exact(codec.dim)) {
            let row = &mut bytes[id as usize * codec.row_bytes()..][..codec.row_bytes()];
            let step = codec.step(row);
            codec.decode(row, &mut values);
            values.iter_mut().zip(gradient).for_each(|(value, g)| *value -= how.rate * g);
            let slope: f32 = values.iter().zip(gradient).map(|(&x, g)| g * codec.step_slope(x, step)).sum();
            let step = (step - how.step_rate * scale * slope).max(f32::MIN_POSITIVE);
            codec.encode_with(&values, step, row, chance(how.seed, number, id));
        }
        Ok(())
    }
}
