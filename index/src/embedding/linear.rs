//! Small dense linear algebra, in `f64` and in a fixed order.

use crate::kernel::{Bag, Kernel};

/// Sweeps of rotations at most: convergence is quadratic, so a dozen is plenty.
const SWEEPS: usize = 30;

/// The eigenvectors of a symmetric matrix of `n` rows, those of the greatest eigenvalues first, one a row (Jacobi's
/// rotations).
pub(super) fn eigenvectors(mut matrix: Vec<f64>, n: usize) -> Vec<f64> {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let total: f64 = matrix.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n * n).filter(|i| i / n != i % n).map(|i| matrix[i] * matrix[i]).sum();
        if off <= total * 1e-28 {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                turn(&mut matrix, &mut vectors, n, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| matrix[b * n + b].total_cmp(&matrix[a * n + a]).then(a.cmp(&b)));
    order.into_iter().flat_map(|i| vectors[i * n..(i + 1) * n].to_vec()).collect()
}

/// One rotation, which makes the element at row `p`, column `q` zero.
fn turn(matrix: &mut [f64], vectors: &mut [f64], n: usize, p: usize, q: usize) {
    let element = matrix[p * n + q];
    if element == 0.0 {
        return;
    }
    let theta = (matrix[q * n + q] - matrix[p * n + p]) / (2.0 * element);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cos = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sin = tangent * cos;
    for k in 0..n {
        let (a, b) = (matrix[k * n + p], matrix[k * n + q]);
        (matrix[k * n + p], matrix[k * n + q]) = (cos * a - sin * b, sin * a + cos * b);
    }
    for rows in [matrix, vectors] {
        for k in 0..n {
            let (a, b) = (rows[p * n + k], rows[q * n + k]);
            (rows[p * n + k], rows[q * n + k]) = (cos * a - sin * b, sin * a + cos * b);
        }
    }
}

/// The best `rank` directions of rows of `dim` values: orthonormal, one a row; their weighted squared errors are least.
pub(super) fn directions(rows: &[f32], dim: usize, weights: Option<&[f32]>, rank: usize) -> Vec<f32> {
    let mut gram = vec![0.0; dim * dim];
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let weight = weights.map_or(1.0, |weights| f64::from(weights[i]));
        for (j, gram) in gram.chunks_exact_mut(dim).enumerate() {
            let factor = weight * f64::from(row[j]);
            gram.iter_mut().zip(row).for_each(|(sum, &x)| *sum += factor * f64::from(x));
        }
    }
    let vectors = eigenvectors(gram, dim);
    vectors[..rank * dim].iter().map(|&x| x as f32).collect()
}

/// The product of a row with each of some directions.
pub(super) fn project(row: &[f32], directions: &[f32], out: &mut [f32]) {
    for (direction, out) in directions.chunks_exact(row.len()).zip(out) {
        *out = row.iter().zip(direction).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32;
    }
}

/// The sum of directions, each times its factor.
pub(super) fn combine(factors: &[f32], directions: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    add_rows(factors, directions, out);
}

/// Adds rows, back to back, each times its factor, in their order and with fused multiply-add.
pub(super) fn add_rows(factors: &[f32], rows: &[f32], out: &mut [f32]) {
    const MOST: usize = 256;
    const NUMBERS: &[u64; MOST] = &{
        let mut numbers = [0; MOST];
        let mut i = 0;
        while i < MOST {
            numbers[i] = i as u64;
            i += 1;
        }
        numbers
    };
    let kernel = Kernel::best();
    for (factors, rows) in factors.chunks(MOST).zip(rows.chunks(MOST * out.len())) {
        kernel.pool_f32(bytemuck::cast_slice(rows), &Bag::new(&NUMBERS[..factors.len()], Some(factors)), out);
    }
}
