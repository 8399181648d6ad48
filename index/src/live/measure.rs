//! How much wider an index must be searched than when it was calibrated: because it has grown, or because questions are
//! unlike what it was calibrated with.

use super::truth::exact;
use super::{Live, Widen};
use crate::error::{IndexError, Result};
use crate::search::{Filter, Index, Probe, Rerank, SearchOptions, Searcher};
use crate::vector::{RowId, Shape};

/// Neighbours wanted of vectors that stand in for questions.
const K: usize = 10;
/// A step of the factor while it is looked for, and the largest.
const STEP: f32 = 1.25;
const MOST: f32 = 16.0;
/// How nearly it is found then, unless a step will do.
const NEAR: f32 = 1.06;
/// Where vectors stand in for questions, the truth is looked for in so many times as many lists, and so many more.
const TRUTH: (usize, usize) = (4, 32);
/// Deviations below the mean that a bound is which holds 19 times of 20, for the normal distribution.
const DEVIATIONS: f64 = 1.645;

/// How well an index answers at one of the recalls of [`Widen::TARGETS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The recall that is to be reached.
    pub target: f32,
    /// The mean recall with the factor that there was.
    pub recall_before: f64,
    /// Lists that were looked at for a question then, on average.
    pub lists_before: f64,
    /// By which factor more lists are to be looked at than when the index was calibrated.
    pub factor: f32,
    /// The mean recall with this factor.
    pub recall: f64,
    /// Lists that are looked at for a question now, on average.
    pub lists: f64,
    /// What the mean recall of all such questions is likely at least: a bound of 19 times of 20, were the factor not chosen by
    /// the same questions.
    pub at_least: f64,
}

/// The factors by which searches of `index` shall look at more lists, starting from `live.widen`: about the least that reach
/// the recalls they are for.
///
/// `queries` are rows with their vectors, which stand in for questions; none is its own neighbour. What a far wider search
/// finds is taken for the truth. `is_dead` says of a row whether it is left out. `is_rough` leaves it at the first step that
/// reaches a recall, up to a quarter more than the least, for less than half of the work: for an index that will soon have changed again.
///
/// # Errors
/// As [`Searcher::search_live`]; [`IndexError::Interrupted`] when it was cancelled.
pub fn measure(
    index: &Index,
    live: &Live,
    queries: &[(RowId, Vec<u8>)],
    is_rough: bool,
    is_dead: &(dyn Fn(RowId) -> bool + Sync),
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Widen> {
    // A row is not its own neighbour.
    let k = K.min((index.info().rows as usize).saturating_sub(1));
    if k == 0 {
        return Ok(live.widen);
    }
    let calibration = &index.info().calibration;
    let hardest = calibration.setting(crate::Residency::Lists, K, Widen::TARGETS[Widen::TARGETS.len() - 1]);
    let wide = hardest.map_or(usize::MAX, |setting| setting.nprobe as usize);
    let lists = wide.saturating_mul(TRUTH.0).saturating_add(TRUTH.1);
    let mut trial = Trial { searcher: index.searcher(), live: live.clone(), k, is_dead, is_cancelled };
    let mut asked = Vec::with_capacity(queries.len());
    for (own, vector) in queries {
        let mut query = Asked { own: Some(*own), vector, truth: Vec::new() };
        query.truth = trial.nearest(&query, Probe::Lists(lists))?.0;
        asked.push(query);
    }
    let near = if is_rough { STEP } else { NEAR };
    let mut factors = Widen::TARGETS;
    for (factor, target) in factors.iter_mut().zip(Widen::TARGETS) {
        let reaches = |recalls: &[f64]| mean(recalls) >= f64::from(target) - 1e-9;
        let start = live.widen.of(target);
        let first = trial.ask(&asked, target, start)?;
        *factor = least((start, first), near, reaches, |factor| trial.ask(&asked, target, factor))?.0;
    }
    Ok(Widen::new(factors))
}

/// As [`measure`], with real questions and the exact answers to them: what was found for each of [`Widen::TARGETS`], or nothing if
/// there are no vectors to be found.
///
/// Few questions say little of all the others that will be asked: a recall counts as reached when it is above the
/// target by as much as it may be too high by chance. The bound is that of the normal distribution, one question that finds
/// nothing counted besides, without which it would be too high where hardly any question misses anything. When nothing is
/// missed at all, that is enough.
///
/// `questions` are vectors of the index's type, back to back; `k` neighbours are wanted of each.
///
/// # Errors
/// As [`Searcher::search_live`]; when vectors cannot be read; [`IndexError::Interrupted`] when it was cancelled.
pub fn measure_questions(
    index: &Index,
    live: &Live,
    (questions, k): (&[u8], usize),
    is_dead: &(dyn Fn(RowId) -> bool + Sync),
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Measured>> {
    let info = index.info();
    let shape = Shape { element: info.element, dim: info.dim };
    let truths = exact(&live.rows, (info.metric, shape), (questions, k), is_dead, is_cancelled)?;
    let vectors = questions.chunks_exact(shape.row_bytes());
    let asked: Vec<Asked<'_>> =
        vectors.zip(truths).map(|(vector, truth)| Asked { own: None, vector, truth }).collect();
    let k = k.min(asked.first().map_or(0, |first| first.truth.len()));
    let mut trial = Trial { searcher: index.searcher(), live: live.clone(), k, is_dead, is_cancelled };
    if k == 0 {
        return Ok(Vec::new());
    }
    Widen::TARGETS.into_iter().map(|target| trial.measure(&asked, target, live.widen.of(target))).collect()
}

fn mean(recalls: &[f64]) -> f64 {
    recalls.iter().sum::<f64>() / recalls.len().max(1) as f64
}

/// What the mean of all recalls is at least, 19 times of 20, where these are some of them.
fn at_least(recalls: &[f64]) -> f64 {
    let count = recalls.len() as f64 + 1.0;
    let mean = recalls.iter().sum::<f64>() / count;
    let squares = recalls.iter().map(|recall| (recall - mean).powi(2)).sum::<f64>() + mean * mean;
    let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
    (mean - DEVIATIONS * deviation / count.sqrt()).max(0.0)
}

/// A question, and what is right.
struct Asked<'a> {
    /// The row it is, if it is one.
    own: Option<RowId>,
    vector: &'a [u8],
    /// The nearest rows with their distances, nearest first.
    truth: Vec<(RowId, f32)>,
}

/// What all questions found.
struct Tally {
    recalls: Vec<f64>,
    /// Lists that were looked at for a question, on average.
    lists: f64,
}

/// The least factor, no less than 1, with which recalls are good enough, or one up to `near` times as large, and what was found with
/// it, beginning with one of which that is known. If there is none, the least of those that find most.
fn least(
    (start, first): (f32, Tally),
    near: f32,
    reaches: impl Fn(&[f64]) -> bool,
    mut ask: impl FnMut(f32) -> Result<Tally>,
) -> Result<(f32, Tally)> {
    let (mut low, (mut high, mut tally)) = if reaches(&first.recalls) {
        narrower((start, first), &reaches, &mut ask)?
    } else {
        wider((start, first), &reaches, &mut ask)?
    };
    while reaches(&tally.recalls) && high > low * near * 1.001 {
        let middle = (low * high).sqrt();
        let asked = ask(middle)?;
        if reaches(&asked.recalls) {
            (high, tally) = (middle, asked);
        } else {
            low = middle;
        }
    }
    Ok((high, tally))
}

/// From a factor that is good enough, the largest in steps that is not, or 1, and the one above it.
fn narrower(
    (mut factor, mut tally): (f32, Tally),
    reaches: impl Fn(&[f64]) -> bool,
    mut ask: impl FnMut(f32) -> Result<Tally>,
) -> Result<(f32, (f32, Tally))> {
    while factor > 1.0 {
        let less = (factor / STEP).max(1.0);
        let asked = ask(less)?;
        if !reaches(&asked.recalls) {
            return Ok((less, (factor, tally)));
        }
        (factor, tally) = (less, asked);
    }
    Ok((1.0, (factor, tally)))
}

/// From a factor that is not good enough, the first in steps that is, and the one below it; or the least that finds most.
fn wider(
    (mut factor, mut tally): (f32, Tally),
    reaches: impl Fn(&[f64]) -> bool,
    mut ask: impl FnMut(f32) -> Result<Tally>,
) -> Result<(f32, (f32, Tally))> {
    let (mut low, mut tried, mut lists) = (factor, factor, tally.lists);
    while tried < MOST && !reaches(&tally.recalls) {
        low = tried;
        tried = (tried * STEP).min(MOST);
        let asked = ask(tried)?;
        if asked.lists <= lists {
            // There are no more.
            break;
        }
        lists = asked.lists;
        if reaches(&asked.recalls) || mean(&asked.recalls) > mean(&tally.recalls) {
            (factor, tally) = (tried, asked);
        }
    }
    Ok((low, (factor, tally)))
}

/// Searches with one factor or another.
struct Trial<'a> {
    searcher: Searcher,
    live: Live,
    k: usize,
    is_dead: &'a (dyn Fn(RowId) -> bool + Sync),
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Trial<'_> {
    fn measure(&mut self, asked: &[Asked<'_>], target: f32, start: f32) -> Result<Measured> {
        let before = self.ask(asked, target, start)?;
        let (recall_before, lists_before) = (mean(&before.recalls), before.lists);
        let reaches = |recalls: &[f64]| {
            at_least(recalls) >= target.into() || recalls.iter().all(|&recall| recall >= 1.0)
        };
        let (factor, after) =
            least((start, before), NEAR, reaches, |factor| self.ask(asked, target, factor))?;
        Ok(Measured {
            target,
            recall_before,
            lists_before,
            factor,
            recall: mean(&after.recalls),
            lists: after.lists,
            at_least: at_least(&after.recalls),
        })
    }

    fn ask(&mut self, asked: &[Asked<'_>], target: f32, factor: f32) -> Result<Tally> {
        self.live.widen = Widen::all(factor);
        let (mut recalls, mut lists) = (Vec::with_capacity(asked.len()), 0);
        for query in asked {
            let (found, looked_at) = self.nearest(query, Probe::TargetRecall(target))?;
            let limit = query.truth.last().map_or(0.0, |last| last.1);
            let right = found.iter().filter(|hit| hit.1 <= limit).count().min(query.truth.len());
            recalls.push(right as f64 / query.truth.len().max(1) as f64);
            lists += looked_at;
        }
        Ok(Tally { recalls, lists: lists as f64 / asked.len().max(1) as f64 })
    }

    /// The nearest rows to a question, and in how many lists they were looked for.
    fn nearest(&mut self, query: &Asked<'_>, probe: Probe) -> Result<(Vec<(RowId, f32)>, u64)> {
        if (self.is_cancelled)() {
            return Err(IndexError::Interrupted);
        }
        let is_dead = self.is_dead;
        let allows = |row: RowId| Some(row) != query.own && !is_dead(row);
        let options = SearchOptions { k: self.k, probe, rerank: Rerank::Exact, ..SearchOptions::default() };
        let filter = Filter { allows: &allows, share: 1.0 };
        let answer = self.searcher.search_live(query.vector, &options, filter, &self.live)?;
        let found = answer.hits.iter().map(|hit| (hit.row, hit.distance)).collect();
        Ok((found, answer.cost.lists))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bound_is_near_the_rule_of_three_where_nothing_is_missed() {
        for (count, low, high) in [(53, 0.94, 0.96), (300, 0.99, 0.992), (1_000, 0.997, 0.998)] {
            let bound = at_least(&vec![1.0; count]);
            assert!((low..high).contains(&bound), "{count}: {bound}");
        }
        assert_eq!(at_least(&[]), 0.0);
    }

    /// A recall that grows with the factor, up to a most.
    fn tally(factor: f32, rate: f64, most: f64) -> Tally {
        let recall = (1.0 - (-f64::from(factor) * rate).exp()).min(most);
        Tally { recalls: vec![recall; 10], lists: f64::from(factor) * 8.0 }
    }

    proptest! {
        #[test]
        fn the_least_factor_is_near_the_one_that_all_factors_tell(
            start in 1.0f32..16.0,
            rate in 0.05f64..4.0,
            most in 0.9f64..1.0,
            near in prop_oneof![Just(STEP), Just(NEAR)],
        ) {
            let reaches = |recalls: &[f64]| mean(recalls) >= 0.95;
            let mut asked = 0;
            let found = least((start, tally(start, rate, most)), near, reaches, |factor| {
                asked += 1;
                Ok(tally(factor, rate, most))
            });
            let (factor, found) = found.unwrap();
            prop_assert_eq!(&found.recalls, &tally(factor, rate, most).recalls);
            prop_assert!((1.0..=MOST).contains(&factor) && asked <= 16, "{} after {}", factor, asked);
            let all = (0..=15_000).map(|at| 1.0 + at as f32 / 1_000.0);
            let twin = all.clone().find(|factor| reaches(&tally(*factor, rate, most).recalls));
            match twin {
                Some(twin) => prop_assert!(
                    reaches(&found.recalls) && factor >= twin - 0.001 && factor <= twin * near * 1.003,
                    "{} of {}", factor, twin
                ),
                None => {
                    let best = all.map(|factor| mean(&tally(factor, rate, most).recalls)).fold(0.0, f64::max);
                    prop_assert!(mean(&found.recalls) >= best - 1e-9);
                }
            }
        }

        #[test]
        fn a_bound_is_below_the_mean_and_grows_with_what_is_found(
            recalls in prop::collection::vec(0.0..=1.0f64, 1..200),
        ) {
            let bound = at_least(&recalls);
            prop_assert!((0.0..=mean(&recalls)).contains(&bound));
            let twice = [recalls.clone(), recalls].concat();
            prop_assert!(at_least(&twice) >= bound - 1e-12);
        }
    }

    /// The bound is too high less than one time in ten, for questions of which some miss a little and some all.
    #[test]
    fn a_bound_holds_about_as_often_as_it_says() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        for (count, miss_little, miss_all) in [(60, 0.3, 0.01), (200, 0.4, 0.005), (1_000, 0.3, 0.02)] {
            let truth = (1.0 - miss_all) * (1.0 - 0.1 * miss_little);
            let mut recall = || match random() {
                all if all < miss_all => 0.0,
                _ => 1.0 - if random() < miss_little { 0.1 } else { 0.0 },
            };
            let mut draw = || at_least(&(0..count).map(|_| recall()).collect::<Vec<_>>());
            let wrong = (0..2_000).filter(|_| draw() > truth).count();
            assert!(wrong < 200, "{wrong} of 2000 with {count} questions");
        }
    }
}
