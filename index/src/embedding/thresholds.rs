//! OptEmbed's search for rows: below which size those of each field are left out.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::fields::Fields;
use super::{check_finite, check_len};

/// What widths are drawn for, among the uses of a seed.
const LANE: u64 = 0x09e;

/// A threshold for each field, beside plain rows that are trained (Lyu and others, "OptEmbed: Learning Optimal Embedding Table
/// for Click-through Rate Prediction", CIKM 2022, sections 3.1 and 3.2).
///
/// A model is given rows whose absolute values add up to more than their field's threshold, zeros for the others, and of each
/// row the first dimensions only, as many as were drawn for its field in this step: so the rows learn to do with any widths,
/// and [`super::Evolution`] can choose some afterwards. Whether a row is left out is a step of its size; the derivative of
/// that is taken to be `2 − 4·|x|` up to 0.4 from the step, 0.4 up to 1, and 0 beyond.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    fields: Fields,
    values: Vec<f32>,
}

impl Thresholds {
    /// Thresholds of 0, which leave out rows of zeros alone. `sizes` are the rows of each field, which lie one after another.
    ///
    /// # Errors
    /// When there are no fields, rows or dimensions.
    pub fn new(sizes: &[u64], dim: usize) -> Result<Self> {
        Ok(Self { fields: Fields::new(sizes, dim)?, values: vec![0.0; sizes.len()] })
    }

    /// One a field, as [`super::Masked::import`] takes them.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Widths of a step by chance, one a field, 1 to all dimensions alike.
    pub fn draw(&self, step: u64, seed: u64) -> Vec<usize> {
        let (random, count) = (Random::new(seed, LANE), self.values.len() as u64);
        let start = step.wrapping_mul(count);
        let width =
            |field: u64| random.below(start.wrapping_add(field), self.fields.dim() as u64) as usize + 1;
        (0..count).map(width).collect()
    }

    /// Rows of ids, back to back, become what a model is given.
    ///
    /// # Errors
    /// When an id is out of range, values do not fit or are no numbers, or widths are not one a field, or too wide.
    pub fn mask(&self, ids: &[u64], widths: &[usize], rows: &mut [f32]) -> Result<()> {
        self.check(ids, widths, rows)?;
        for (&id, row) in ids.iter().zip(rows.chunks_exact_mut(self.fields.dim())) {
            let field = self.fields.of(id);
            let first = if self.distance(field, row) > 0.0 { widths[field] } else { 0 };
            row[first..].fill(0.0);
        }
        Ok(())
    }

    /// A step: `rows` are those of the ids as they are, `gradients` those of what the model was given, which become gradients of
    /// the rows. A threshold moves against its gradient, and by `pull·exp(−threshold)` upwards, both times `rate`, and stays at
    /// 0 or above.
    ///
    /// # Errors
    /// As [`Thresholds::mask`], and when a constant is no number. Nothing has changed then.
    pub fn step(
        &mut self,
        ids: &[u64],
        widths: &[usize],
        rows: &[f32],
        gradients: &mut [f32],
        rate: f32,
        pull: f32,
    ) -> Result<()> {
        self.check(ids, widths, rows)?;
        self.check(ids, widths, gradients)?;
        check_finite("rate and pull", 2, &[rate, pull])?;
        let mut slopes = vec![0.0; self.values.len()];
        let dim = self.fields.dim();
        let pairs = rows.chunks_exact(dim).zip(gradients.chunks_exact_mut(dim));
        for (&id, (row, gradient)) in ids.iter().zip(pairs) {
            let field = self.fields.of(id);
            slopes[field] -= self.through(field, widths[field], row, gradient);
        }
        for (value, slope) in self.values.iter_mut().zip(slopes) {
            let moved = *value - rate * (slope - pull * (-*value).exp());
            // What is no number any more stays what it was.
            *value = if moved.is_finite() { moved.max(0.0) } else { *value };
        }
        Ok(())
    }

    /// How many of all rows, back to back, are not left out, in each field.
    ///
    /// # Errors
    /// When values are not the rows that there are thresholds for, or no numbers.
    pub fn kept(&self, rows: &[f32]) -> Result<Vec<u64>> {
        self.fields.check_all(rows)?;
        let mut kept = vec![0; self.values.len()];
        for (id, row) in (0..).zip(rows.chunks_exact(self.fields.dim())) {
            let field = self.fields.of(id);
            kept[field] += u64::from(self.distance(field, row) > 0.0);
        }
        Ok(kept)
    }

    /// How far a row is above the threshold of its field.
    fn distance(&self, field: usize, row: &[f32]) -> f32 {
        row.iter().map(|x| x.abs()).sum::<f32>() - self.values[field]
    }

    /// Makes a gradient of a row of one of what the model was given. Gives the gradient of the row's size.
    fn through(&self, field: usize, width: usize, row: &[f32], gradient: &mut [f32]) -> f32 {
        let distance = self.distance(field, row);
        let product: f32 = row[..width].iter().zip(&*gradient).map(|(x, g)| x * g).sum();
        let steepness = steepness(distance);
        // Where it is flat nothing comes through, be the product infinite.
        let of_size = if steepness == 0.0 { 0.0 } else { product * steepness };
        gradient[if distance > 0.0 { width } else { 0 }..].fill(0.0);
        for (g, x) in gradient.iter_mut().zip(row).filter(|(_, x)| **x != 0.0) {
            *g += of_size * x.signum();
        }
        of_size
    }

    fn check(&self, ids: &[u64], widths: &[usize], values: &[f32]) -> Result<()> {
        self.fields.check(ids, values)?;
        check_len("widths of fields", widths.len(), self.values.len())?;
        match widths.iter().find(|width| **width > self.fields.dim()) {
            Some(&width) => {
                let expected = format!("at most {}", self.fields.dim());
                Err(IndexError::option("dimensions of a field", width, expected))
            }
            None => Ok(()),
        }
    }
}

/// What is taken for the derivative of a step at 0.
fn steepness(x: f32) -> f32 {
    match x.abs() {
        x if x <= 0.4 => 2.0 - 4.0 * x,
        x if x <= 1.0 => 0.4,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::steepness;

    #[test]
    fn a_step_is_steep_near_it_and_flat_far_off() {
        for (x, right) in
            [(0.0, 2.0), (0.2, 1.2), (0.4, 0.4), (0.7, 0.4), (1.0, 0.4), (1.1, 0.0), (f32::INFINITY, 0.0)]
        {
            for x in [x, -x] {
                assert!((steepness(x) - right).abs() < 1e-6, "{x}: {}", steepness(x));
            }
        }
    }
}
