//! How a question for the nearest points is answered: the way that is estimated to read least.
//!
//! The choice is a pure function of a few numbers. A new way of searching is one more [`Strategy`] and one more arm of
//! [`choose_strategy`].

/// A page read somewhere costs as much as so many that are read in a row.
const RANDOM_COST: u64 = 4;

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
    /// Most payloads were asked first, because no field index could narrow the filter down; then as by one of the others.
    PayloadsFirst,
}

/// What is known when vectors are about to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Points in segments that are not dead.
    pub(crate) points: u64,
    /// Of them those that match, if there is a filter.
    pub(crate) matching: Option<u64>,
    /// Payloads of them that the filter asked.
    pub(crate) payloads_asked: u64,
    /// Pages of all vectors.
    pub(crate) all_pages: u64,
    /// Pages of the vectors that match, at most.
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
    let Estimate { points, matching, payloads_asked, all_pages, matching_pages } = *estimate;
    let Some(matching) = matching else {
        let why = format!("no filter: all {all_pages} pages of vectors are read");
        return Choice { strategy: Strategy::Exact, picks: false, why };
    };
    let picks = matching_pages.saturating_mul(RANDOM_COST) < all_pages || matching == 0;
    let strategy = match (payloads_asked * 2 > points, picks) {
        (true, _) => Strategy::PayloadsFirst,
        (false, true) => Strategy::MatchingOnly,
        (false, false) => Strategy::FilteredScan,
    };
    let asked = match payloads_asked {
        0 => String::new(),
        some => format!(", which took {some} payloads"),
    };
    let read = if picks { "only theirs" } else { "all" };
    let why = format!(
        "{matching} of {points} points in segments match{asked}; their vectors are on {matching_pages} of {all_pages} \
         pages at most, so {read} are read"
    );
    Choice { strategy, picks, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_chosen_from_a_description() {
        use Strategy::{Exact, FilteredScan, MatchingOnly, PayloadsFirst};
        let of = |matching, payloads_asked, matching_pages| Estimate {
            points: 1_000,
            matching,
            payloads_asked,
            all_pages: 100,
            matching_pages,
        };
        let cases = [
            (of(None, 0, 0), Exact, false),
            (of(Some(0), 0, 0), MatchingOnly, true),
            (of(Some(24), 0, 24), MatchingOnly, true),
            (of(Some(25), 0, 25), FilteredScan, false),
            (of(Some(900), 0, 100), FilteredScan, false),
            (of(Some(24), 500, 24), MatchingOnly, true),
            (of(Some(24), 501, 24), PayloadsFirst, true),
            (of(Some(900), 1_000, 100), PayloadsFirst, false),
        ];
        for (estimate, strategy, picks) in cases {
            let choice = choose_strategy(&estimate);
            assert_eq!((choice.strategy, choice.picks), (strategy, picks), "{estimate:?}: {}", choice.why);
        }
        let empty = Estimate { points: 0, all_pages: 0, ..of(Some(0), 0, 0) };
        assert_eq!(choose_strategy(&empty).strategy, MatchingOnly);
    }
}
