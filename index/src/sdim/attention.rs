//! Exact target attention: what SDIM approximates, and is measured against.

use crate::error::{IndexError, Result};
use crate::kernel::{Kernel, PANEL, TILE_PANELS, TILE_QUERIES};

use super::{check_len, check_vectors};

/// Rows of one step.
const STEP: usize = TILE_PANELS * PANEL;

/// The chance that a group of `bits` bits is the same for two vectors, by the cosine of their angle:
/// (1 − arccos(cosine)/π)^bits.
pub fn collision_weight(cosine: f64, bits: usize) -> f64 {
    (1.0 - cosine.clamp(-1.0, 1.0).acos() / std::f64::consts::PI).powi(bits as i32)
}

/// Softmax attention of each query over all behaviours: Σ softmax(scale · q·s) s, as `[query][dimension]`. Without
/// behaviours it is zero. It takes two products for every element of a behaviour and a query, in blocks.
///
/// # Errors
/// When queries or behaviours are not whole vectors of finite values, or `scale` is not finite.
pub fn exact_attention(queries: &[f32], behaviors: &[f32], dim: usize, scale: f32) -> Result<Vec<f32>> {
    if dim == 0 || !scale.is_finite() {
        let found = format!("{dim} dimensions, scale {scale}");
        let expected = "a dimension or more, and a finite scale".to_owned();
        return Err(IndexError::BadInput { name: "attention".to_owned(), found, expected });
    }
    let count = check_vectors("queries of attention", dim, queries)?;
    let len = check_vectors("behaviours of attention", dim, behaviors)?;
    let mut out = vec![0.0; count * dim];
    check_len("interest of queries", out.len(), queries.len())?;
    if len == 0 {
        return Ok(out);
    }
    let (keys, values) = (keys(behaviors, dim), values(behaviors, dim));
    let mut weights = vec![0.0; TILE_QUERIES * len];
    for (queries, out) in queries.chunks(TILE_QUERIES * dim).zip(out.chunks_mut(TILE_QUERIES * dim)) {
        let rows: Vec<&[f32]> = queries.chunks_exact(dim).collect();
        multiply(&keys, &rows, len, &mut weights);
        weights.chunks_exact_mut(len).for_each(|weights| softmax(weights, scale));
        let rows: Vec<&[f32]> = weights.chunks_exact(len).take(rows.len()).collect();
        multiply(&values, &rows, dim, out);
    }
    Ok(out)
}

/// Products of at most [`TILE_QUERIES`] rows with the first `width` columns of a matrix in panels: `[row][column]`.
fn multiply(panels: &[f32], rows: &[&[f32]], width: usize, out: &mut [f32]) {
    let kernel = Kernel::best();
    let tile: [&[f32]; TILE_QUERIES] = std::array::from_fn(|i| rows[i.min(rows.len() - 1)]);
    for (step, panels) in panels.chunks_exact(STEP * tile[0].len()).enumerate() {
        let mut products = [[[0.0; PANEL]; TILE_PANELS]; TILE_QUERIES];
        kernel.tile(panels, &tile, &mut products);
        let columns = step * STEP..width.min((step + 1) * STEP);
        for (products, out) in products.iter().zip(out.chunks_exact_mut(width)).take(rows.len()) {
            out[columns.clone()].copy_from_slice(&products.as_flattened()[..columns.len()]);
        }
    }
}

/// Panels of behaviours side by side: a column for each.
fn keys(behaviors: &[f32], dim: usize) -> Vec<f32> {
    let mut panels = vec![0.0; (behaviors.len() / dim).div_ceil(STEP) * STEP * dim];
    for (at, behavior) in behaviors.chunks_exact(dim).enumerate() {
        for (j, &value) in behavior.iter().enumerate() {
            panels[at / PANEL * PANEL * dim + j * PANEL + at % PANEL] = value;
        }
    }
    panels
}

/// Panels of dimensions side by side: a column for each.
fn values(behaviors: &[f32], dim: usize) -> Vec<f32> {
    let len = behaviors.len() / dim;
    let mut panels = vec![0.0; dim.div_ceil(STEP) * STEP * len];
    for (at, behavior) in behaviors.chunks_exact(dim).enumerate() {
        for (chunk, part) in behavior.chunks(PANEL).enumerate() {
            let start = (chunk * len + at) * PANEL;
            panels[start..start + part.len()].copy_from_slice(part);
        }
    }
    panels
}

/// Softmax in place.
fn softmax(weights: &mut [f32], scale: f32) {
    weights.iter_mut().for_each(|weight| *weight *= scale);
    let greatest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for weight in weights.iter_mut() {
        *weight = (*weight - greatest).exp();
        sum += f64::from(*weight);
    }
    let share = (1.0 / sum) as f32;
    weights.iter_mut().for_each(|weight| *weight *= share);
}
