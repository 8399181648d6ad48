//! When to stop probing: an estimate of the recall reached.
//!
//! After Quake (Mohoney et al., OSDI 2025): the k nearest vectors lie in a ball around the query, as wide as the k-th
//! candidate is far. A list's share of them is about the part of the ball beyond the plane between the nearest list's
//! centroid and its own: the cap of a ball in as many dimensions as the data really has, which the calibration finds out.
//! Lists probed so far have so much of all shares.

/// Steps of the table of caps.
const STEPS: usize = 256;
/// The part of what was probed whose finds say how many to expect in what is left.
const LAST: f32 = 0.25;

/// The parts of a ball beyond planes at any distance from its centre.
#[derive(Debug, Clone)]
pub(crate) struct Caps {
    /// For each distance, in steps of the radius.
    shares: [f32; STEPS + 1],
}

impl Caps {
    /// Caps in a ball of so many dimensions.
    pub(crate) fn new(dimension: f32) -> Self {
        // The cross-section at s radii from the centre is as large as (1 - s²)^((m - 1) / 2).
        let section = |step: usize| {
            let s = (step as f64 + 0.5) / STEPS as f64;
            (1.0 - s * s).powf((f64::from(dimension) - 1.0) / 2.0)
        };
        let half: f64 = (0..STEPS).map(section).sum();
        let mut shares = [0.0; STEPS + 1];
        let mut beyond = 0.0;
        for step in (0..STEPS).rev() {
            beyond += section(step);
            shares[step] = (beyond / (2.0 * half)) as f32;
        }
        Self { shares }
    }

    /// The part beyond a plane at `distance` radii.
    fn share(&self, distance: f32) -> f32 {
        let step = (distance * STEPS as f32) as usize;
        self.shares[step.min(STEPS)]
    }
}

/// The planes between the nearest list and the others, as seen from one query.
#[derive(Debug, Default, Clone)]
pub(crate) struct Planes {
    distances: Vec<f32>,
}

impl Planes {
    pub(crate) fn clear(&mut self) {
        self.distances.clear();
    }

    /// Adds the next list: its squared distance, that of the nearest list, and that between their centroids.
    pub(crate) fn push(&mut self, squared: f32, nearest: f32, between: f32) {
        let distance = (squared - nearest).max(0.0) / (2.0 * between.sqrt());
        // Two centroids in one place have no plane between them: the list counts as near.
        self.distances.push(if distance.is_finite() { distance } else { 0.0 });
    }

    /// The recall after the nearest `probed` lists, when the k-th candidate is `radius` away and only the nearest `all`
    /// lists matter.
    pub(crate) fn recall(&self, caps: &Caps, probed: usize, all: usize, radius: f32) -> f32 {
        if !(radius.is_finite() && radius > 0.0) {
            return if radius == 0.0 { 1.0 } else { 0.0 };
        }
        let all = &self.distances[..all.min(self.distances.len())];
        let (near, far) = all.split_at(probed.min(all.len()));
        part(sum(caps, near, radius), sum(caps, far, radius))
    }

    /// The same where only some vectors are allowed, which may lie unevenly: what is left is taken to have as many of the
    /// `k` nearest for its share as the last lists had, if that is more than all had on average. `since` says how many of
    /// them were found from a list on.
    pub(crate) fn recall_of_some(
        &self,
        caps: &Caps,
        probed: usize,
        radius: f32,
        (k, since): (usize, impl Fn(usize) -> usize),
    ) -> f32 {
        if !(radius.is_finite() && radius > 0.0) {
            return self.recall(caps, probed, self.distances.len(), radius);
        }
        let (near, far) = self.distances.split_at(probed.min(self.distances.len()));
        let near_sum = sum(caps, near, radius);
        let (mut last, mut from) = (0.0, near.len());
        while from > 0 && last < near_sum * LAST {
            from -= 1;
            last += caps.share(near[from] / radius);
        }
        let expected = if near_sum > 0.0 { k as f32 * last / near_sum } else { 0.0 };
        // One more on both sides: of few, none or two say little.
        let density = (since(from) as f32 + 1.0) / (expected + 1.0);
        part(near_sum, sum(caps, far, radius) * density.max(1.0))
    }
}

/// The shares of lists beyond these planes.
fn sum(caps: &Caps, planes: &[f32], radius: f32) -> f32 {
    let scale = 1.0 / radius;
    planes.iter().map(|plane| caps.share(plane * scale)).sum()
}

fn part(near: f32, far: f32) -> f32 {
    if near + far > 0.0 { near / (near + far) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_are_those_of_balls() {
        // In one dimension the part beyond t is (1 - t) / 2, in three (2 - 3t + t³) / 4.
        for t in [0.0f32, 0.1, 0.25, 0.5, 0.9] {
            assert!((Caps::new(1.0).share(t) - (1.0 - t) / 2.0).abs() < 0.01);
            assert!((Caps::new(3.0).share(t) - (2.0 - 3.0 * t + t.powi(3)) / 4.0).abs() < 0.01);
        }
        assert_eq!((Caps::new(16.0).share(1.0), Caps::new(16.0).share(7.0)), (0.0, 0.0));
    }

    #[test]
    fn recall_grows_with_lists_and_shrinks_with_the_radius() {
        let mut planes = Planes::default();
        for i in 0..20 {
            planes.push(1.0 + 0.1 * i as f32, 1.0, 1.0);
        }
        let caps = Caps::new(16.0);
        for probed in 0..20 {
            assert!(planes.recall(&caps, probed, 20, 1.0) <= planes.recall(&caps, probed + 1, 20, 1.0));
            assert!(planes.recall(&caps, probed, 20, 2.0) <= planes.recall(&caps, probed, 20, 0.5));
        }
        assert_eq!(planes.recall(&caps, 20, 20, 1.0), 1.0);
        assert_eq!(planes.recall(&caps, 3, 20, f32::INFINITY), 0.0);
        assert_eq!(planes.recall(&caps, 3, 20, f32::NAN), 0.0);
        assert_eq!(planes.recall(&caps, 1, 20, 0.0), 1.0);
    }

    #[test]
    fn what_comes_late_makes_more_be_expected() {
        let mut planes = Planes::default();
        for i in 0..20 {
            planes.push(1.0 + 0.1 * i as f32, 1.0, 1.0);
        }
        let caps = Caps::new(16.0);
        let some =
            |probed, found: &dyn Fn(usize) -> usize| planes.recall_of_some(&caps, probed, 2.0, (10, found));
        for probed in 1..20 {
            let even = planes.recall(&caps, probed, 20, 2.0);
            assert_eq!(some(probed, &|_| 0), even, "what came early makes none be less sure");
            // All in the last list: there may be many more.
            let late = some(probed, &|_| 10);
            assert!(late <= even && (probed == 1 || late < even), "{late} {even}");
            // A quarter of the finds in a quarter of the shares is as it should be, but for the one more.
            let fair = some(probed, &|_| 2);
            assert!(late <= fair && fair > even * 0.8, "{fair} {even}");
        }
        assert_eq!(some(20, &|_| 10), 1.0);
        assert_eq!(planes.recall_of_some(&caps, 3, f32::INFINITY, (10, |_| 10)), 0.0);
        assert_eq!(planes.recall_of_some(&caps, 3, 0.0, (10, |_| 10)), 1.0);
    }
}
