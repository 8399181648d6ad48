//! How a question for the nearest points is answered: the way that is estimated to read least.
//!
//! The choice is a pure function of a few numbers. A new way of searching is one more [`Strategy`] and one more arm of
//! [`choose_strategy`].

use super::select::LAZY_SHARE;

/// A page read somewhere costs as much as so many that are read in a row and compared: 11 us were measured for the one, 1 us
/// for the others.
const RANDOM_COST: u64 = 8;

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// All vectors were compared: there was no filter.
    Exact,
    /// All vectors were read, and those of points that match compared.
    FilteredScan,
    /// Only vectors of points that match were read.
    MatchingOnly,
    /// All vectors were compared first, because no field index could narrow the filter down, and the payloads of the
    /// nearest were asked until enough of them matched.
    CompareFirst,
    /// Most payloads were asked first, because no field index could narrow the filter down; then as by one of the others.
    PayloadsFirst,
}

/// What is known when vectors are about to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Points in segments that are not dead.
    pub(crate) points: u64,
    /// Of them those that match or may, if there is a filter.
    pub(crate) matching: Option<u64>,
    /// Of those the ones whose payloads would have to be asked.
    pub(crate) unsure: u64,
    /// Points that the question wants.
    pub(crate) k: u64,
    /// Pages of all vectors.
    pub(crate) all_pages: u64,
    /// Pages of the vectors that match or may, at most.
    pub(crate) matching_pages: u64,
}

/// A choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) strategy: Strategy,
    /// Whether only vectors that match are read.
    pub(crate) picks: bool,
    /// What decided, in words.
    pub(crate) why: String,
}

pub(crate) fn choose_strategy(estimate: &Estimate) -> Choice {
    let Estimate { points, matching, unsure, k, all_pages, matching_pages } = *estimate;
    let Some(matching) = matching else {
        let why = format!("no filter: all {all_pages} pages of vectors are read");
        return Choice { strategy: Strategy::Exact, picks: false, why };
    };
    let picks = matching_pages.saturating_mul(RANDOM_COST) < all_pages || matching == 0;
    if unsure * 2 > points {
        let open =
            format!("no field index tells of {unsure} of {points} points in segments whether they match");
        if first_tries(k).saturating_mul(LAZY_SHARE) < unsure {
            let why = format!("{open}, and only {k} are wanted: the nearest are asked");
            return Choice { strategy: Strategy::CompareFirst, picks: false, why };
        }
        return Choice {
            strategy: Strategy::PayloadsFirst,
            picks,
            why: format!("{open}: all of them are asked"),
        };
    }
    let (strategy, read) =
        if picks { (Strategy::MatchingOnly, "only theirs") } else { (Strategy::FilteredScan, "all") };
    let why = format!(
        "{matching} of {points} points in segments match; their vectors are on {matching_pages} of {all_pages} pages at \
         most, so {read} are read"
    );
    Choice { strategy, picks, why }
}

/// How many of the nearest points are asked at first whether they match, when `k` are wanted.
pub(crate) fn first_tries(k: u64) -> u64 {
    k.saturating_mul(4).saturating_add(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_chosen_from_a_description() {
        use Strategy::{CompareFirst, Exact, FilteredScan, MatchingOnly, PayloadsFirst};
        let of = |matching, unsure, matching_pages| Estimate {
            points: 10_000,
            matching,
            unsure,
            k: 150,
            all_pages: 100,
            matching_pages,
        };
        let cases = [
            (of(None, 0, 0), Exact, false),
            (of(Some(0), 0, 0), MatchingOnly, true),
            (of(Some(12), 0, 12), MatchingOnly, true),
            (of(Some(13), 0, 13), FilteredScan, false),
            (of(Some(900), 0, 100), FilteredScan, false),
            (of(Some(9_000), 5_000, 100), FilteredScan, false),
            (of(Some(9_000), 5_001, 100), PayloadsFirst, false),
            (Estimate { k: 10, ..of(Some(9_000), 5_001, 100) }, CompareFirst, false),
            (Estimate { k: 1 << 20, ..of(Some(9_000), 9_000, 100) }, PayloadsFirst, false),
        ];
        for (estimate, strategy, picks) in cases {
            let choice = choose_strategy(&estimate);
            assert_eq!((choice.strategy, choice.picks), (strategy, picks), "{estimate:?}: {}", choice.why);
        }
        let empty = Estimate { points: 0, all_pages: 0, ..of(Some(0), 0, 0) };
        assert_eq!(choose_strategy(&empty).strategy, MatchingOnly);
    }
}
