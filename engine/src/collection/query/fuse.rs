//! Several lists of points as one.

use std::collections::HashMap;

use nearline_index::RowId;

use super::answer::Ranked;
use crate::error::QueryError;

/// What a list's first place is worth: with 2, half.
const RRF_K: u32 = 2;

/// How several lists of points are put together as one. Larger scores are better.
///
/// ```
/// use nearline::Fusion;
///
/// let even = Fusion::rrf();
/// let first_counts_more = Fusion::rrf().k(60).weights([3.0, 1.0]);
/// let by_scores = Fusion::dbsf();
/// # let _ = (even, first_counts_more, by_scores);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Fusion {
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Ranks { k: u32, weights: Option<Vec<f32>> },
    Scores,
}

impl Fusion {
    /// By places: reciprocal rank fusion. In each list that has it, a point gets 1 / (k + its place), places counted from 0.
    pub fn rrf() -> Self {
        Self { rule: Rule::Ranks { k: RRF_K, weights: None } }
    }

    /// By scores: distribution-based score fusion. In each list, scores are brought to where the mean is 0.5, and three standard
    /// deviations below and above it 0 and 1; a point gets the sum. Scores are taken as they are, so lists by distances, whose
    /// smaller scores are better, are no use here.
    pub fn dbsf() -> Self {
        Self { rule: Rule::Scores }
    }

    /// The k of [`Fusion::rrf`], 1 at least; 2 unless told otherwise. The larger, the less the first places count.
    pub fn k(mut self, k: u32) -> Self {
        if let Rule::Ranks { k: known, .. } = &mut self.rule {
            *known = k;
        }
        self
    }

    /// What each list counts for [`Fusion::rrf`], one number for each: at 3, places lie three times as close together. Lists of
    /// 0 and less give nothing.
    pub fn weights(mut self, weights: impl Into<Vec<f32>>) -> Self {
        if let Rule::Ranks { weights: known, .. } = &mut self.rule {
            *known = Some(weights.into());
        }
        self
    }

    pub(super) fn check(&self, lists: usize) -> Result<(), QueryError> {
        let Rule::Ranks { k, weights } = &self.rule else { return Ok(()) };
        if *k == 0 {
            return Err(QueryError::bad("k of rrf", k, "1 or more"));
        }
        let Some(weights) = weights else { return Ok(()) };
        if weights.len() != lists {
            let expected = format!("as many as prefetches: {lists}");
            return Err(QueryError::bad("number of weights of rrf", weights.len(), expected));
        }
        match weights.iter().find(|weight| !weight.is_finite()) {
            Some(weight) => Err(QueryError::bad("weight of rrf", weight, "a finite number")),
            None => Ok(()),
        }
    }

    /// The points of all lists, each once, best first; of equal ones those that came first.
    pub(super) fn fuse(&self, lists: Vec<Vec<Ranked>>) -> Vec<Ranked> {
        let mut fused = Fused::default();
        for (number, list) in lists.into_iter().enumerate() {
            match &self.rule {
                Rule::Ranks { k, weights } => {
                    let weight = weights.as_ref().map_or(1.0, |weights| f64::from(weights[number]));
                    for (place, point) in list.iter().enumerate() {
                        fused.add(point.row, reciprocal(place, weight, *k));
                    }
                }
                Rule::Scores => {
                    let normal = Normal::of(&list);
                    list.iter().for_each(|point| fused.add(point.row, normal.place(point.score)));
                }
            }
        }
        fused.into_sorted()
    }
}

fn reciprocal(place: usize, weight: f64, k: u32) -> f64 {
    if weight <= 0.0 { 0.0 } else { 1.0 / ((place as f64 + 1.0) / weight + f64::from(k) - 1.0) }
}

/// Sums by row, in the order in which rows came.
#[derive(Default)]
struct Fused {
    places: HashMap<RowId, usize>,
    sums: Vec<(RowId, f64)>,
}

impl Fused {
    fn add(&mut self, row: RowId, score: f64) {
        let place = *self.places.entry(row).or_insert(self.sums.len());
        match self.sums.get_mut(place) {
            Some((_, sum)) => *sum += score,
            None => self.sums.push((row, score)),
        }
    }

    fn into_sorted(mut self) -> Vec<Ranked> {
        self.sums.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        self.sums.into_iter().map(|(row, score)| Ranked::by_score(row, score as f32)).collect()
    }
}

/// How the scores of a list are spread.
struct Normal {
    low: f64,
    /// 0 if all scores are the same.
    width: f64,
}

impl Normal {
    fn of(list: &[Ranked]) -> Self {
        let count = list.len() as f64;
        let scores = || list.iter().map(|point| f64::from(point.score));
        let mean = scores().sum::<f64>() / count;
        let variance = scores().map(|score| (score - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
        let is_spread = list.windows(2).any(|two| two[0].score != two[1].score);
        let three = if is_spread { 3.0 * variance.sqrt() } else { 0.0 };
        Self { low: mean - three, width: 2.0 * three }
    }

    fn place(&self, score: f32) -> f64 {
        if self.width > 0.0 { (f64::from(score) - self.low) / self.width } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Rows and scores, best first.
    type List = Vec<(u32, f32)>;

    fn fused(fusion: &Fusion, lists: &[List]) -> List {
        let ranked =
            |list: &List| list.iter().map(|&(row, score)| Ranked::by_score(RowId(row), score)).collect();
        fusion
            .fuse(lists.iter().map(ranked).collect())
            .iter()
            .map(|point| (point.row.0, point.score))
            .collect()
    }

    /// For every row, what every list gives it.
    fn naive(lists: &[List], give: impl Fn(usize, &List, usize) -> f64) -> BTreeMap<u32, f64> {
        let mut sums = BTreeMap::new();
        for (number, list) in lists.iter().enumerate() {
            for (place, (row, _)) in list.iter().enumerate() {
                *sums.entry(*row).or_insert(0.0) += give(number, list, place);
            }
        }
        sums
    }

    fn agrees(found: List, right: &BTreeMap<u32, f64>) -> Result<(), TestCaseError> {
        prop_assert_eq!(found.len(), right.len());
        prop_assert!(found.is_sorted_by(|a, b| a.1 >= b.1));
        for (row, score) in found {
            prop_assert!(
                (f64::from(score) - right[&row]).abs() < 1e-5,
                "{row}: {score}, not {}",
                right[&row]
            );
        }
        Ok(())
    }

    fn lists() -> impl Strategy<Value = Vec<List>> {
        let list = prop::collection::btree_map(0..20_u32, -5.0..5.0_f32, 0..12).prop_map(|scores| {
            let mut list: List = scores.into_iter().collect();
            list.sort_by(|a, b| b.1.total_cmp(&a.1));
            list
        });
        prop::collection::vec(list, 1..5)
    }

    proptest! {
        #[test]
        fn ranks_are_fused(lists in lists(), k in 1..70_u32, weights in prop::collection::vec(-1.0..5.0_f32, 5)) {
            agrees(fused(&Fusion::rrf(), &lists), &naive(&lists, |_, _, place| 1.0 / (2.0 + place as f64)))?;
            let weights = weights[..lists.len()].to_vec();
            let give = |number: usize, _: &List, place: usize| match f64::from(weights[number]) {
                weight if weight > 0.0 => 1.0 / ((place + 1) as f64 / weight + f64::from(k) - 1.0),
                _ => 0.0,
            };
            let right = naive(&lists, give);
            agrees(fused(&Fusion::rrf().k(k).weights(weights.clone()), &lists), &right)?;
        }

        #[test]
        fn scores_are_fused(lists in lists()) {
            let right = naive(&lists, |_, list, place| {
                let n = list.len() as f64;
                let mean = list.iter().map(|(_, score)| f64::from(*score)).sum::<f64>() / n;
                let squares = list.iter().map(|(_, score)| (f64::from(*score) - mean).powi(2)).sum::<f64>();
                let deviation = (squares / (n - 1.0)).sqrt();
                if n < 2.0 || deviation == 0.0 { return 0.5; }
                (f64::from(list[place].1) - (mean - 3.0 * deviation)) / (6.0 * deviation)
            });
            agrees(fused(&Fusion::dbsf(), &lists), &right)?;
        }
    }

    #[test]
    fn by_hand() {
        let lists = [vec![(1, 9.0), (2, 8.0)], vec![(2, 0.3), (3, 0.2)]];
        let right = [(2, (1.0 / 3.0 + 0.5_f64) as f32), (1, 0.5), (3, 1.0 / 3.0)];
        assert_eq!(fused(&Fusion::rrf(), &lists), right);
        assert_eq!(fused(&Fusion::dbsf(), &[vec![(1, 4.0)], vec![(2, 1.0), (1, 1.0)]]), [(1, 1.0), (2, 0.5)]);
        assert_eq!(fused(&Fusion::rrf(), &[vec![], vec![]]), []);
    }

    #[test]
    fn what_cannot_be_fused_is_refused() {
        let text = |fusion: Fusion| fusion.check(2).unwrap_err().to_string();
        assert_eq!(text(Fusion::rrf().k(0)), "k of rrf: 0; expected 1 or more");
        assert_eq!(
            text(Fusion::rrf().weights([1.0])),
            "number of weights of rrf: 1; expected as many as prefetches: 2"
        );
        assert!(text(Fusion::rrf().weights([1.0, f32::NAN])).contains("a finite number"));
        assert!(Fusion::rrf().weights([1.0, 0.0]).check(2).is_ok() && Fusion::dbsf().check(2).is_ok());
    }
}
