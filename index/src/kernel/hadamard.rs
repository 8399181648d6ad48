//! One round of the random rotation: factors, the Hadamard transform, sums and differences of pairs.
//!
//! Additions and multiplications only, none of them fused, each result made of the same operations whatever the
//! width of the registers.

/// Values that the first steps work within.
const ROW: usize = 16;

/// Multiplies `x` by the factors, transforms the 2^⌊log₂ len⌋ values from `first` on, and replaces the pairs
/// `(x[i], x[i + len/2])` by sum and difference. All unscaled: the factors are made for that.
#[inline(always)]
pub(super) fn rotate(factors: &[f32], first: usize, x: &mut [f32]) {
    let span = multiply(factors, first, x);
    for row in span.as_chunks_mut().0 {
        sixteen(row);
    }
    wide_steps(span);
    pairs(x);
}

/// The first part of a round: the factors. Gives the values to be transformed.
#[inline(always)]
pub(super) fn multiply<'a>(factors: &[f32], first: usize, x: &'a mut [f32]) -> &'a mut [f32] {
    assert_eq!(factors.len(), x.len());
    assert!(!x.is_empty() && x.len().is_multiple_of(ROW));
    for (x, factors) in x.as_chunks_mut::<ROW>().0.iter_mut().zip(factors.as_chunks::<ROW>().0) {
        for i in 0..ROW {
            x[i] *= factors[i];
        }
    }
    let length = 1 << x.len().ilog2();
    &mut x[first..first + length]
}

/// The steps of the transform after those within sixteen values.
#[inline(always)]
pub(super) fn wide_steps(x: &mut [f32]) {
    let mut half = ROW;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            butterflies(low, high);
        }
        half *= 2;
    }
}

/// The last part of a round.
#[inline(always)]
pub(super) fn pairs(x: &mut [f32]) {
    let (low, high) = x.split_at_mut(x.len() / 2);
    butterflies(low, high);
}

/// Sums and differences. In whole registers to the end: single values written would have to be waited for when the
/// next step reads a register.
#[inline(always)]
fn butterflies(low: &mut [f32], high: &mut [f32]) {
    let ((low, low_rest), (high, high_rest)) = (low.as_chunks_mut::<ROW>(), high.as_chunks_mut::<ROW>());
    for (low, high) in low.iter_mut().zip(high) {
        butterfly(low, high);
    }
    // Half of an odd number of rows leaves half a row.
    let (low, high) = (low_rest.as_chunks_mut::<{ ROW / 2 }>().0, high_rest.as_chunks_mut::<{ ROW / 2 }>().0);
    for (low, high) in low.iter_mut().zip(high) {
        butterfly(low, high);
    }
}

#[inline(always)]
fn butterfly<const N: usize>(low: &mut [f32; N], high: &mut [f32; N]) {
    let (a, b) = (*low, *high);
    for i in 0..N {
        low[i] = a[i] + b[i];
    }
    for i in 0..N {
        high[i] = a[i] - b[i];
    }
}

/// The transform of sixteen values.
#[inline(always)]
fn sixteen(x: &mut [f32; ROW]) {
    let mut half = 1;
    while half < ROW {
        for i in (0..ROW).filter(|i| i & half == 0) {
            (x[i], x[i + half]) = (x[i] + x[i + half], x[i] - x[i + half]);
        }
        half *= 2;
    }
}
