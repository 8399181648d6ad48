//! The rotation keeps lengths and angles, and mixes.

use super::quantize::normal;
use crate::rotation::{Rotation, padded};

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[test]
fn products_stay_and_single_values_spread() {
    for dim in [16, 32, 48, 96, 128, 144, 768, 784, 1024, 65_552] {
        let rotation = Rotation::new(dim, 7);
        let (mut a, mut b) = (normal(1, dim), normal(2, dim));
        let before = [dot(&a, &a), dot(&a, &b), dot(&b, &b)];
        rotation.apply(&mut a);
        rotation.apply(&mut b);
        let after = [dot(&a, &a), dot(&a, &b), dot(&b, &b)];
        for (before, after) in before.iter().zip(after) {
            assert!((before - after).abs() < 1e-5 * dim as f64, "{dim}: {before} {after}");
        }
        for at in [0, 1, dim / 2, dim - 1] {
            let mut single = vec![0.0; dim];
            single[at] = 1.0;
            rotation.apply(&mut single);
            let greatest = single.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs()));
            let expected = (2.0 * (2.0 * dim as f32).ln() / dim as f32).sqrt();
            assert!(greatest < 1.5 * expected, "{dim}: {greatest} {expected}");
        }
    }
}

#[test]
fn the_seed_alone_decides() {
    let mut same = [normal(1, 96), normal(1, 96), normal(1, 96)];
    for (x, seed) in same.iter_mut().zip([1, 1, 2]) {
        Rotation::new(96, seed).apply(x);
    }
    assert_eq!(same[0], same[1]);
    assert_ne!(same[0], same[2]);
    assert_eq!([1, 16, 17, 65_535].map(padded), [16, 16, 32, 65_536]);
}
