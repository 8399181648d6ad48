//! OptEmbed's search for widths: which dimensions of a trained table each field can do without.

use crate::error::{IndexError, Result};
use crate::random::Random;

use super::{DIM_MAX, check_len};

/// What is drawn by chance, among the uses of a seed.
const LANE: u64 = 0x0e7;

/// How an [`Evolution`] goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvolutionRules {
    /// Widths of a generation: half of them are changed by chance, half are crossed from two.
    pub population: usize,
    /// The best so far, of which the next generation comes.
    pub parents: usize,
    /// How likely the width of a field changes.
    pub chance: f64,
    /// What everything by chance follows from.
    pub seed: u64,
}

/// Generations of widths, one a field (Lyu and others, "OptEmbed", CIKM 2022, section 3.3): those with the least loss on
/// validation have the next ones. None has more values than allowed: where chance gives too many, fields by chance lose one
/// dimension after another.
///
/// Whoever searches asks for the [`Evolution::population`], measures the loss of each, for example of
/// [`super::Masked::import`] with the thresholds found, and tells them to [`Evolution::advance`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evolution {
    dim: usize,
    /// Rows that each field keeps.
    kept: Vec<u64>,
    values_max: u64,
    rules: EvolutionRules,
    /// Numbers drawn so far.
    drawn: u64,
    population: Vec<Vec<usize>>,
    /// Losses and widths, the least first.
    best: Vec<(f64, Vec<usize>)>,
}

impl Evolution {
    /// The first generation, by chance, for fields that keep so many rows each ([`super::Thresholds::kept`]).
    ///
    /// # Errors
    /// When there are no fields or dimensions, a rule makes no sense, or one value a row kept is more than allowed.
    pub fn new(kept: &[u64], dim: usize, values_max: u64, rules: EvolutionRules) -> Result<Self> {
        if kept.is_empty() || !(1..=DIM_MAX).contains(&dim) {
            let (found, expected) = (format!("{}, {dim}", kept.len()), format!("1 or more, 1 to {DIM_MAX}"));
            return Err(IndexError::option("fields and dimensions", found, expected));
        }
        if rules.population == 0 || rules.parents == 0 {
            let found = format!("{}, {}", rules.population, rules.parents);
            return Err(IndexError::option("population and parents", found, "1 or more"));
        }
        if !(0.0..=1.0).contains(&rules.chance) {
            return Err(IndexError::option("chance of another width", rules.chance, "0 to 1"));
        }
        let (kept, population, best) = (kept.to_vec(), Vec::new(), Vec::new());
        let mut first = Self { dim, kept, values_max, rules, drawn: 0, population, best };
        let needed = first.values(&vec![1; first.kept.len()]);
        if needed > u128::from(values_max) {
            let needed = u64::try_from(needed).unwrap_or(u64::MAX).saturating_mul(4);
            let allowed = values_max.saturating_mul(4);
            let (what, fix) =
                ("one value of each row that is kept", "allow more bytes, or leave out more rows");
            return Err(IndexError::Budget { what, needed, allowed, fix });
        }
        for _ in 0..rules.population {
            let widths = (0..first.kept.len()).map(|_| first.width()).collect();
            first.add(widths);
        }
        Ok(first)
    }

    /// The widths of this generation, one a field each.
    pub fn population(&self) -> &[Vec<usize>] {
        &self.population
    }

    /// The best widths so far, and their loss: none before the first generation was measured.
    pub fn best(&self) -> Option<(&[usize], f64)> {
        self.best.first().map(|(loss, widths)| (&widths[..], *loss))
    }

    /// Goes on to the next generation: `losses` are those of this one.
    ///
    /// # Errors
    /// When there is another number of them, or one is no number. Nothing has changed then.
    pub fn advance(&mut self, losses: &[f64]) -> Result<()> {
        check_len("losses", losses.len(), self.population.len())?;
        if let Some(at) = losses.iter().position(|loss| !loss.is_finite()) {
            return Err(IndexError::input(
                "losses",
                format!("{} at place {at}", losses[at]),
                "finite values",
            ));
        }
        let measured = std::mem::take(&mut self.population);
        self.best.extend(losses.iter().copied().zip(measured));
        self.best.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        // Widths may come twice.
        let mut seen = std::collections::HashSet::new();
        self.best.retain(|(_, widths)| seen.insert(widths.clone()));
        self.best.truncate(self.rules.parents);
        for number in 0..self.rules.population {
            let child =
                if number < self.rules.population.div_ceil(2) { self.changed() } else { self.crossed() };
            self.add(child);
        }
        Ok(())
    }

    /// One of the best, with other widths in some fields.
    fn changed(&mut self) -> Vec<usize> {
        let mut widths = self.parent();
        for width in &mut widths {
            if (self.below(1 << 32) as f64) < self.rules.chance * (1u64 << 32) as f64 {
                *width = self.width();
            }
        }
        widths
    }

    /// Each width of either of two of the best.
    fn crossed(&mut self) -> Vec<usize> {
        let (a, b) = (self.parent(), self.parent());
        a.into_iter().zip(b).map(|(a, b)| if self.below(2) == 0 { a } else { b }).collect()
    }

    fn parent(&mut self) -> Vec<usize> {
        let at = self.below(self.best.len() as u64) as usize;
        self.best[at].1.clone()
    }

    /// Adds widths to the generation, made to fit.
    fn add(&mut self, mut widths: Vec<usize>) {
        while self.values(&widths) > u128::from(self.values_max) {
            let is_wide = |field: &usize| widths[*field] > 1 && self.kept[*field] > 0;
            let wide: Vec<usize> = (0..widths.len()).filter(is_wide).collect();
            let field = wide[self.below(wide.len() as u64) as usize];
            widths[field] -= 1;
        }
        self.population.push(widths);
    }

    /// Values that rows kept have with such widths.
    fn values(&self, widths: &[usize]) -> u128 {
        self.kept.iter().zip(widths).map(|(&kept, &width)| u128::from(kept) * width as u128).sum()
    }

    /// A width by chance.
    fn width(&mut self) -> usize {
        self.below(self.dim as u64) as usize + 1
    }

    fn below(&mut self, below: u64) -> u64 {
        self.drawn += 1;
        Random::new(self.rules.seed, LANE).below(self.drawn, below)
    }
}
