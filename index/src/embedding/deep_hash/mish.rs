//! Mish, `x · tanh(ln(1 + eˣ))` (Misra, section 3), in sums and products alone, so that it is the same on every processor and
//! many values are worked on at once.

/// Added to a number and taken away again, it rounds: whole numbers are all there is room for behind it.
const ROUND: f32 = 12_582_912.0;
/// Below, `e` to it is no normal number, and taken for zero.
const LEAST: f32 = -87.0;
/// The logarithm of 2 in two parts, the first of which has bits to spare.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// `eˣ` of what is not above zero.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let twos = rounded - ROUND;
    let r = x - twos * LN2[0] - twos * LN2[1];
    let series = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
    let power = (rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits());
    let value = (1.0 + (r + r * r * (0.5 + r * series))) * f32::from_bits(power);
    if x > LEAST { value } else { 0.0 }
}

/// `tanh(ln(1 + eˣ))`, what is missing from it to 1 times `1 + tanh`, and `e` to the negative of `|x|`.
///
/// With `n = eˣ(eˣ + 2)` the first is `n / (n + 2)`; above zero, both divided by `e²ˣ`, so that nothing overflows.
#[inline(always)]
fn parts(x: f32) -> (f32, f32, f32) {
    let e = exp(-x.abs());
    let square = e * e;
    let (n, rest) = if x > 0.0 { (1.0 + 2.0 * e, 2.0 * square) } else { (square + 2.0 * e, 2.0) };
    let whole = n + rest;
    (n / whole, rest * (n + whole) / (whole * whole), e)
}

#[inline(always)]
pub(super) fn mish(x: f32) -> f32 {
    x * parts(x).0
}

/// The derivative: `t + x (1 − t²) / (1 + e⁻ˣ)`, `t` being the hyperbolic tangent.
#[inline(always)]
pub(super) fn mish_slope(x: f32) -> f32 {
    let (tanh, rest, e) = parts(x);
    tanh + x * rest * (if x > 0.0 { 1.0 } else { e }) / (1.0 + e)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions, in f64.
    fn naive(x: f64) -> (f64, f64) {
        let t = x.exp().ln_1p().tanh();
        let t = if x > 300.0 { 1.0 } else { t };
        (x * t, t + x * (1.0 - t * t) / (1.0 + (-x).exp()))
    }

    #[test]
    fn mish_and_its_slope_are_what_the_definitions_say() {
        let mut values: Vec<f32> = (-40_000..=40_000).map(|i| i as f32 / 1000.0).collect();
        values.extend([0.0, -0.0, 1e-30, -1e-30, 86.9, -86.9, -87.5, 200.0, -200.0, 1e30, -1e30]);
        for x in values {
            let (expected, slope) = naive(f64::from(x));
            let error = (f64::from(mish(x)) - expected).abs();
            assert!(error <= 1e-6 * (expected.abs() + 1e-3), "{x}: {} for {expected}", mish(x));
            let error = (f64::from(mish_slope(x)) - slope).abs();
            assert!(error <= 1e-6, "{x}: {} for {slope}", mish_slope(x));
        }
        assert_eq!(mish(f32::INFINITY), f32::INFINITY);
        assert!(mish(f32::NAN).is_nan());
    }
}
