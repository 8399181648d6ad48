//! By which factors more lists are looked at than were when an index was calibrated.

/// A factor for each of a few recalls, 1 or larger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Widen {
    /// In the order of [`Widen::TARGETS`].
    factors: [f32; Self::TARGETS.len()],
}

impl Widen {
    /// The recalls that have a factor of their own, ascending.
    pub const TARGETS: [f32; 3] = [0.9, 0.95, 0.99];
    /// As many lists as were needed then.
    pub const NONE: Self = Self::all(1.0);

    /// The same factor for all recalls.
    pub const fn all(factor: f32) -> Self {
        Self { factors: [factor; Self::TARGETS.len()] }
    }

    /// A factor for each of [`Widen::TARGETS`].
    pub const fn new(factors: [f32; Self::TARGETS.len()]) -> Self {
        Self { factors }
    }

    /// The factors, in the order of [`Widen::TARGETS`].
    pub fn factors(&self) -> [f32; Self::TARGETS.len()] {
        self.factors
    }

    /// The factor for a recall: that of the next higher one that has its own, or of the highest.
    pub fn of(&self, target: f32) -> f32 {
        let place = Self::TARGETS.iter().position(|&known| known >= target);
        self.factors[place.unwrap_or(Self::TARGETS.len() - 1)]
    }

    /// How many times as large as another the factor is that grew most.
    pub fn over(&self, other: &Self) -> f32 {
        let times = self.factors.into_iter().zip(other.factors).map(|(factor, other)| factor / other);
        times.fold(0.0, f32::max)
    }

    /// As many times as large, for each recall, as `to` is of `from`.
    pub fn rescaled(&self, from: &Self, to: &Self) -> Self {
        let (from, to) = (from.factors, to.factors);
        Self { factors: std::array::from_fn(|at| (self.factors[at] * to[at] / from[at]).max(1.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recall_has_the_factor_of_the_next_higher_one() {
        let widen = Widen::new([1.0, 2.0, 3.0]);
        let cases =
            [(0.0, 1.0), (0.9, 1.0), (0.91, 2.0), (0.95, 2.0), (0.98, 3.0), (0.99, 3.0), (0.999, 3.0)];
        for (target, factor) in cases {
            assert_eq!(widen.of(target), factor, "{target}");
        }
        assert_eq!((widen.over(&Widen::all(2.0)), Widen::NONE.over(&widen)), (1.5, 1.0));
        let grown = Widen::new([2.0, 2.0, 6.0]);
        assert_eq!(Widen::all(1.5).rescaled(&widen, &grown), Widen::new([3.0, 1.5, 3.0]));
        assert_eq!(Widen::NONE.rescaled(&grown, &widen), Widen::NONE);
    }
}
