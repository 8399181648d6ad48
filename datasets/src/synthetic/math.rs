//! Functions of which every machine's library has its own version. Here they are made of IEEE additions,
//! multiplications, divisions and square roots only, which are the same everywhere.

const LN_2: f64 = std::f64::consts::LN_2;

/// e^x for |x| below about 20, relative error about 1e-15 (Taylor series of e^|x|).
pub(super) fn exp(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for n in 1..=80 {
        term *= x.abs() / f64::from(n);
        sum += term;
    }
    if x < 0.0 { 1.0 / sum } else { sum }
}

/// ln x for x >= 1 (halvings down to [1, 2), then 2 artanh((x - 1) / (x + 1)) as a series).
pub(super) fn ln(x: f64) -> f64 {
    let (mut rest, mut halvings) = (x, 0.0);
    while rest >= 2.0 {
        rest /= 2.0;
        halvings += 1.0;
    }
    let z = (rest - 1.0) / (rest + 1.0);
    let (mut sum, mut power) = (0.0, z);
    for n in 0..20 {
        sum += power / f64::from(2 * n + 1);
        power *= z * z;
    }
    2.0 * sum + halvings * LN_2
}

/// x^p for x >= 1.
pub(super) fn pow(x: f64, p: f64) -> f64 {
    exp(p * ln(x))
}

/// tanh x to about 1e-4: Lambert's continued fraction cut after x²/13, which reaches 1 at 4.97.
#[inline]
pub(super) fn tanh(x: f32) -> f32 {
    let x = x.clamp(-4.97, 4.97);
    let s = x * x;
    let numerator = x * (135_135.0 + s * (17_325.0 + s * (378.0 + s)));
    let denominator = 135_135.0 + s * (62_370.0 + s * (3_150.0 + s * 28.0));
    numerator / denominator
}

/// x^(21/16) for x >= 0, by square roots.
#[inline]
pub(super) fn pow_21_16(x: f32) -> f32 {
    let fourth = x.sqrt().sqrt();
    x * fourth * fourth.sqrt().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_library() {
        for i in -100..=100 {
            let x = f64::from(i) / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-14, "exp {x}");
            assert!((f64::from(tanh(x as f32)) - x.tanh()).abs() < 2e-4, "tanh {x}");
        }
        for x in [1.0, 1.5, 2.0, 3.7, 12345.0] {
            assert!((ln(x) - x.ln()).abs() < 1e-14, "ln {x}");
            assert!((pow(x, -0.6) / x.powf(-0.6) - 1.0).abs() < 1e-13, "pow {x}");
            assert!((pow_21_16(x as f32) / (x as f32).powf(1.3125) - 1.0).abs() < 1e-6, "pow {x}");
        }
    }
}
