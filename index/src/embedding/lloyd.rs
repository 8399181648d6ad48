//! k-means where some points count more than others.

use rayon::prelude::*;

use crate::random::Random;

/// Centroids that are compared at a time.
const LANES: usize = 16;
/// Points that one task assigns at a time.
const BLOCK: usize = 256;
/// Rounds at most.
const ROUNDS: usize = 25;
/// Points for each centroid that centroids are trained on at most.
const SAMPLE: usize = 256;

/// At most `k` centroids of `points`, `dim` values each, so that the sum of weight times squared distance is small
/// (Lloyd's iterations after a weighted k-means++). Fewer if there are fewer points. The result does not depend on the
/// number of threads.
pub(super) fn centroids(points: &[f32], weights: &[f32], dim: usize, k: usize, random: Random) -> Vec<f32> {
    let picked: Vec<u64> = random.strata((k * SAMPLE) as u64, weights.len() as u64);
    let sample: Vec<f32> = picked.iter().flat_map(|&i| &points[i as usize * dim..][..dim]).copied().collect();
    let weights: Vec<f32> = picked.iter().map(|&i| weights[i as usize]).collect();
    let mut centroids = spread(&sample, &weights, dim, k, random);
    let mut codes = Vec::new();
    for _ in 0..ROUNDS {
        let next = assign(&sample, dim, &centroids);
        if next == codes {
            break;
        }
        codes = next;
        centroids = means(&sample, &weights, dim, &codes, &centroids);
    }
    centroids
}

/// The nearest centroid of each point; of equals, the first.
pub(super) fn assign(points: &[f32], dim: usize, centroids: &[f32]) -> Vec<u8> {
    let panels = panels(centroids, dim);
    let nearest = |point: &[f32]| nearest_in(point, &panels) as u8;
    points.par_chunks(BLOCK * dim).flat_map_iter(|block| block.chunks_exact(dim).map(nearest)).collect()
}

/// Centroids side by side, [`LANES`] at a time: `[panel][dimension][lane]`. Lanes without one are infinitely far.
fn panels(centroids: &[f32], dim: usize) -> Vec<Vec<[f32; LANES]>> {
    let panel = |centroids: &[f32]| {
        let mut panel = vec![[f32::INFINITY; LANES]; dim];
        for (lane, centroid) in centroids.chunks_exact(dim).enumerate() {
            panel.iter_mut().zip(centroid).for_each(|(lanes, &x)| lanes[lane] = x);
        }
        panel
    };
    centroids.chunks(LANES * dim).map(panel).collect()
}

/// As [`nearest`], to the bit: each lane adds in order of dimension.
fn nearest_in(point: &[f32], panels: &[Vec<[f32; LANES]>]) -> usize {
    let mut best = (0, f32::INFINITY);
    for (number, panel) in panels.iter().enumerate() {
        let mut sums = [0.0; LANES];
        for (x, lanes) in point.iter().zip(panel) {
            for lane in 0..LANES {
                let difference = x - lanes[lane];
                sums[lane] += difference * difference;
            }
        }
        for (lane, &sum) in sums.iter().enumerate() {
            if sum < best.1 {
                best = (number * LANES + lane, sum);
            }
        }
    }
    best.0
}

/// The nearest centroid and its squared distance.
pub(super) fn nearest(point: &[f32], centroids: &[f32]) -> (usize, f32) {
    let distance = |centroid: &[f32]| point.iter().zip(centroid).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let mut best = (0, f32::INFINITY);
    for (i, centroid) in centroids.chunks_exact(point.len()).enumerate() {
        let here = distance(centroid);
        if here < best.1 {
            best = (i, here);
        }
    }
    best
}

/// The first centroids: each a point, with a chance of its weight times its distance from those before.
fn spread(points: &[f32], weights: &[f32], dim: usize, k: usize, random: Random) -> Vec<f32> {
    let mut chances: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
    let mut distances = vec![f32::INFINITY; weights.len()];
    let mut centroids = Vec::with_capacity(k * dim);
    for i in 0..k {
        let total: f64 = chances.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut left = (random.at(i as u64) >> 11) as f64 / (1u64 << 53) as f64 * total;
        let picked = chances.iter().position(|&chance| {
            left -= chance;
            left < 0.0 && chance > 0.0
        });
        let picked = picked.or(chances.iter().rposition(|&chance| chance > 0.0)).unwrap_or(0);
        let centroid = &points[picked * dim..][..dim];
        centroids.extend_from_slice(centroid);
        let pairs = points.chunks_exact(dim).zip(&mut distances);
        for ((point, distance), (chance, &weight)) in pairs.zip(chances.iter_mut().zip(weights)) {
            *distance = distance.min(nearest(point, centroid).1);
            *chance = f64::from(weight) * f64::from(*distance);
        }
    }
    centroids
}

/// Weighted means. A centroid without points stays where it is.
fn means(points: &[f32], weights: &[f32], dim: usize, codes: &[u8], before: &[f32]) -> Vec<f32> {
    let mut sums = vec![0f64; before.len()];
    let mut totals = vec![0f64; before.len() / dim];
    for ((point, &weight), &code) in points.chunks_exact(dim).zip(weights).zip(codes) {
        let code = usize::from(code);
        totals[code] += f64::from(weight);
        let sums = &mut sums[code * dim..][..dim];
        sums.iter_mut().zip(point).for_each(|(sum, &x)| *sum += f64::from(weight) * f64::from(x));
    }
    let mean = |i: usize| match totals[i / dim] {
        total if total > 0.0 => (sums[i] / total) as f32,
        _ => before[i],
    };
    (0..before.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn points_get_the_nearest_centroid_and_of_equals_the_first(
            dim in 1usize..70, k in 1usize..=256, values in prop::collection::vec(-3i8..=3, 1..400), scale in 0.01f32..100.0
        ) {
            // Few different values, so that many are equally far.
            let value = |i: usize| f32::from(values[i * 7 % values.len()]) * scale;
            let centroids: Vec<f32> = (0..k * dim).map(value).collect();
            let points: Vec<f32> = (0..20 * dim).map(|i| value(i + 3)).collect();
            let expected: Vec<u8> = points.chunks(dim).map(|point| nearest(point, &centroids).0 as u8).collect();
            prop_assert_eq!(assign(&points, dim, &centroids), expected);
        }
    }
}
