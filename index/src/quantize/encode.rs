//! From vectors to codes: the best grid for each residual, and the factors of its estimates.

use half::bf16;

use super::planes::{pack_planes, pack_signs};
use super::{BLOCK, Bounds, CodeShape, EPSILON};
use crate::kernel::{GRID_STEPS, Kernel};

/// What the decoded vector is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// `S = |r|²/⟨r, x⟩`, and the true `|r|²` in the estimate: no bias over the choice of the rotation. For vectors.
    Unbiased,
    /// `S = ⟨r, x⟩/|x|²`, and the estimate with all bits is the distance to the decoded vector, but for rounding.
    /// All bounds are meant for that vector. For centroids.
    LeastSquares,
}

/// A list's entries, coded. See the module `quantize` for the bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoded {
    pub(crate) signs: Vec<u8>,
    pub(crate) records: Vec<u8>,
    pub(crate) bounds: Bounds,
}

/// Encodes a list. `vectors` has `shape.dim` values an entry, row-major, and `rows` the row of each.
///
/// # Panics
/// When the lengths do not agree or the shape is none.
pub(crate) fn encode(
    shape: CodeShape,
    scale: Scale,
    centroid: &[f32],
    vectors: &[f32],
    rows: &[u32],
) -> Encoded {
    shape.check();
    assert_eq!(centroid.len(), shape.dim);
    assert_eq!(vectors.len(), shape.dim * rows.len());
    let mut out = Encoded {
        signs: vec![0; shape.blocks(rows.len()) * shape.block_bytes()],
        records: Vec::with_capacity(rows.len() * shape.record_bytes()),
        bounds: Bounds::default(),
    };
    let mut encoder = Encoder::new(shape, scale, centroid);
    for (entry, (vector, &row)) in vectors.chunks_exact(shape.dim).zip(rows).enumerate() {
        encoder.choose_codes(vector);
        let factors = encoder.factors();
        encoder.pack(entry, row, &factors, &mut out);
        out.bounds.sign_slope = out.bounds.sign_slope.max(factors.bounds.sign_slope);
        out.bounds.sign_offset = out.bounds.sign_offset.max(factors.bounds.sign_offset);
        out.bounds.full_slope = out.bounds.full_slope.max(factors.bounds.full_slope);
    }
    out
}

/// What an entry's estimates need beside its codes.
struct Factors {
    sign_add: bf16,
    sign_scale: bf16,
    add: f32,
    scale: f32,
    bounds: Bounds,
}

/// Exact sums over an entry's dimensions: residual `r`, grid point `x`, signs `s` as ±½, centroid `c`.
#[derive(Debug, Clone, Copy)]
struct Products {
    rr: f64,
    rx: f64,
    rs: f64,
    xx: f64,
    xs: f64,
    xc: f64,
    sc: f64,
}

/// The factors of the estimate of a vector that is in no list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimator {
    /// Addend and scale by signs, as they are in the block, and by all bits.
    pub(crate) signs: (f32, f32),
    pub(crate) all_bits: (f32, f32),
    /// The standard deviations of the errors of both estimates, by signs and by all bits, for each unit of `|q - c|`; infinite
    /// if nothing is known.
    pub(crate) sign_deviation: f32,
    pub(crate) deviation: f32,
}

/// Room for one entry at a time.
pub(crate) struct Encoder<'a> {
    kernel: Kernel,
    shape: CodeShape,
    scale: Scale,
    centroid: &'a [f32],
    residual: Vec<f32>,
    /// |r|, the greatest being 1.
    magnitudes: Vec<f32>,
    codes: Vec<u8>,
    point: Vec<f32>,
    sign_point: Vec<f32>,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(shape: CodeShape, scale: Scale, centroid: &'a [f32]) -> Self {
        let zeros = || vec![0.0; shape.dim];
        Self {
            kernel: Kernel::best(),
            shape,
            scale,
            centroid,
            residual: zeros(),
            magnitudes: zeros(),
            codes: vec![0; shape.dim],
            point: zeros(),
            sign_point: zeros(),
        }
    }

    /// Encodes one vector alone: its signs go to their place in a block that was zero there, its other bits to the end of
    /// `planes`. Estimates are less by `excess`.
    pub(crate) fn code(
        &mut self,
        vector: &[f32],
        excess: f64,
        entry: usize,
        block: &mut [u8],
        planes: &mut Vec<u8>,
    ) -> Estimator {
        self.choose_codes(vector);
        let mut factors = self.factors();
        if excess > 0.0 {
            factors.sign_add = bf16::from_f64(factors.sign_add.to_f64() - excess);
            factors.add = (f64::from(factors.add) - excess) as f32;
        }
        if factors.bounds.full_slope == f32::INFINITY {
            // It may be anywhere, and there is no bound to say so: its estimate does.
            (factors.sign_add, factors.add) = (bf16::NEG_INFINITY, f32::NEG_INFINITY);
        }
        self.pack_signs(entry, &factors, block);
        pack_planes(self.shape.bits, &self.codes, planes);
        let deviation = |slope: f32| slope / EPSILON as f32;
        Estimator {
            signs: (factors.sign_add.to_f32(), factors.sign_scale.to_f32()),
            all_bits: (factors.add, factors.scale),
            sign_deviation: deviation(factors.bounds.sign_slope),
            deviation: deviation(factors.bounds.full_slope),
        }
    }

    fn choose_codes(&mut self, vector: &[f32]) {
        let (kernel, bits) = (self.kernel, self.shape.bits);
        kernel.residual(vector, self.centroid, &mut self.residual, &mut self.magnitudes);
        let top = ((1u32 << (bits - 1)) - 1) as f32;
        let step = if bits > 1 { best_step(kernel, &self.magnitudes, top) } else { 1.0 };
        kernel.grid_codes(&self.residual, &self.magnitudes, top, step, &mut self.codes);
        kernel.grid_points(&self.codes, bits, &mut self.point, &mut self.sign_point);
    }

    fn products(&self) -> Products {
        let sums = |a: &[f32], b: &[f32]| self.kernel.sums_f32(a, b);
        let of_residual = sums(&self.point, &self.residual);
        let of_point = sums(self.centroid, &self.point);
        Products {
            rr: of_residual.norm,
            rx: of_residual.dot,
            rs: sums(&self.residual, &self.sign_point).dot,
            xx: of_point.norm,
            xs: sums(&self.point, &self.sign_point).dot,
            xc: of_point.dot,
            sc: sums(self.centroid, &self.sign_point).dot,
        }
    }

    fn factors(&self) -> Factors {
        let mut products = self.products();
        let unbiased = quotient(products.rr, products.rx);
        let (scale, norm) = match self.scale {
            Scale::Unbiased => ((-2.0 * unbiased) as f32, products.rr),
            Scale::LeastSquares => {
                let scale = (-2.0 * products.rx / products.xx) as f32;
                products = products.decoded(f64::from(scale) / -2.0);
                (scale, products.rr)
            }
        };
        let add = (norm - f64::from(scale) * products.xc) as f32;
        let sign_scale = bf16::from_f64(-2.0 * quotient(products.rr, products.rs));
        let exact_add = products.rr - sign_scale.to_f64() * products.sc;
        let sign_add = bf16::from_f64(exact_add);
        let bounds = Bounds {
            full_slope: self.slope(products.rr, products.rx, products.xx, f64::from(scale)),
            sign_slope: self.slope(
                products.rr,
                products.rs,
                self.shape.dim as f64 / 4.0,
                sign_scale.to_f64(),
            ),
            sign_offset: (sign_add.to_f64() - exact_add).abs() as f32,
        };
        let known = [add, scale, sign_add.to_f32(), sign_scale.to_f32()].iter().all(|x| x.is_finite());
        if known && bounds.full_slope.is_finite() && bounds.sign_slope.is_finite() {
            return Factors { sign_add, sign_scale, add, scale, bounds };
        }
        Factors::UNKNOWN
    }

    /// The width of the error interval for each unit of `|q - c|`, of a point with `|x|² = xx` and a scale that may
    /// have been rounded. The error is `2⟨S·x - r, q - c⟩`; `S·x - r` is split into its part along `r`, which only
    /// rounding makes, and the part across, whose product with a vector of random direction is of the size
    /// `1/√(dim - 1)`.
    fn slope(&self, rr: f64, rx: f64, xx: f64, scale: f64) -> f32 {
        let step = -0.5 * scale;
        let along = (step * quotient(rx, rr) - 1.0).abs() * rr.sqrt();
        let across = (step * step * (xx - quotient(rx * rx, rr)).max(0.0)).sqrt();
        let along = if rr > 0.0 { along } else { 0.0 };
        (2.0 * (along + EPSILON * across / (self.shape.dim as f64 - 1.0).sqrt())) as f32
    }

    fn pack(&self, entry: usize, row: u32, factors: &Factors, out: &mut Encoded) {
        let (block, at) = (entry / BLOCK, entry % BLOCK);
        let bytes = self.shape.block_bytes();
        self.pack_signs(at, factors, &mut out.signs[block * bytes..][..bytes]);
        pack_planes(self.shape.bits, &self.codes, &mut out.records);
        out.records.extend(factors.add.to_le_bytes());
        out.records.extend(factors.scale.to_le_bytes());
        out.records.extend(row.to_le_bytes());
    }
}

impl Encoder<'_> {
    fn pack_signs(&self, at: usize, factors: &Factors, block: &mut [u8]) {
        let (signs, tail) = block.split_at_mut(self.shape.sign_bytes());
        let (adds, scales) = tail.split_at_mut(BLOCK * 2);
        pack_signs(self.shape.bits, &self.codes, at, signs);
        adds[at * 2..][..2].copy_from_slice(&factors.sign_add.to_le_bytes());
        scales[at * 2..][..2].copy_from_slice(&factors.sign_scale.to_le_bytes());
    }
}

impl Factors {
    /// Of an entry whose factors are no numbers of their types: the centroid stands for it, and nothing is promised.
    const UNKNOWN: Self = Self {
        sign_add: bf16::ZERO,
        sign_scale: bf16::ZERO,
        add: 0.0,
        scale: 0.0,
        bounds: Bounds { sign_slope: f32::INFINITY, sign_offset: f32::INFINITY, full_slope: f32::INFINITY },
    };
}

impl Products {
    /// The same sums with `S·x` in the place of the residual.
    fn decoded(self, step: f64) -> Self {
        Self { rr: step * step * self.xx, rx: step * self.xx, rs: step * self.xs, ..self }
    }
}

/// `a / b`, or nothing of nothing.
fn quotient(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Steps tried first, and again around the best of them.
const COARSE: usize = 16;
const FINE: usize = 8;

/// The step that gives the smallest angle between the magnitudes, at most 1, and their grid values.
///
/// The exact optimum is among `dim * top` critical steps, and the angle as a function of the step is a smooth
/// curve with small teeth: so a few steps over the whole range, then some around the best.
fn best_step(kernel: Kernel, magnitudes: &[f32], top: f32) -> f32 {
    let dim = magnitudes.len() as f32;
    let sums = kernel.sums_f32(magnitudes, magnitudes);
    let deviation = (sums.norm as f32 / dim).sqrt().max(f32::MIN_POSITIVE);
    // Nothing is cut off at `fit`; `normal` is the best for endless dimensions of a normal distribution. The optima
    // of 16 to 1536 dimensions lie around the greater of the two, hardly ever outside these factors.
    let fit = top + 1.0;
    let normal = (normal_step(top) / deviation).min(8.0 * fit);
    let [least, most] = if top < 31.0 { [0.75, 1.1] } else { [0.87, 1.03] };
    let (low, high) = ((least * fit).max(0.8 * normal), (most * fit).max(1.25 * normal));
    let width = (high - low) / COARSE as f32;
    let coarse = |i: usize| low + width * i as f32;
    let (step, cosine) = best_of(kernel, magnitudes, top, COARSE, coarse, (fit, 0.0));
    let fine = |i: usize| step + width * (2.0 * (i as f32 + 0.5) / FINE as f32 - 1.0);
    best_of(kernel, magnitudes, top, FINE, fine, (step, cosine)).0
}

/// The best of some steps and the best so far: the step and ⟨y, x⟩²/|x|².
fn best_of(
    kernel: Kernel,
    magnitudes: &[f32],
    top: f32,
    count: usize,
    step: impl Fn(usize) -> f32,
    mut best: (f32, f32),
) -> (f32, f32) {
    for first in (0..count).step_by(GRID_STEPS) {
        let steps = std::array::from_fn(|i| step(first + i));
        for (step, sums) in steps.iter().zip(kernel.grid_sums(magnitudes, top, &steps)) {
            let cosine = sums.dot * sums.dot / sums.norm;
            if cosine > best.1 {
                best = (*step, cosine);
            }
        }
    }
    best
}

/// Steps a standard deviation of the uniform quantizer that is best for the normal distribution (Max, "Quantizing
/// for minimum distortion", 1960), for 2 to 8 bits.
fn normal_step(top: f32) -> f32 {
    match top as u32 {
        ..=1 => 1.004,
        2..=3 => 1.706,
        4..=7 => 2.983,
        8..=15 => 5.312,
        16..=31 => 9.60,
        32..=63 => 17.56,
        _ => 32.4,
    }
}
