//! How a question for the nearest points is answered: the way that is estimated to read least.
//!
//! The choice is a pure function of a few numbers. A new way of searching is one more [`Strategy`] and one more arm of
//! [`choose_strategy`].

use super::select::LAZY_SHARE;

/// A page read somewhere costs as much as so many that are read in a row and compared: 11 us were measured for the one, 1 us
/// for the others.
const RANDOM_COST: u64 = 8;

/// Codes in memory that are looked at while a page is read in a row and compared.
const CODES_PER_COST: u64 = 300;

/// Pages that a search of a vector index reads somewhere, about, with no filter; among fewer vectors it looks farther. And
/// for each vector wanted, if those are more.
const INDEX_READS: u64 = 60;
const INDEX_READS_EACH: u64 = 2;
/// The share of vectors that match below which more lists are looked at, and how many times as many: what was measured.
const FEW_SHARE: f64 = 0.75;
const FARTHER: f64 = 2.5;

/// How a question was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// All vectors were compared: there was no filter.
    Exact,
    /// The vector index was searched; vectors that it lacks were compared.
    Index,
    /// The vector index was searched for points that match; those that it lacks were compared.
    FilteredIndex,
    /// All vectors were read, and those of points that match compared.
    FilteredScan,
    /// Only vectors of points that match were read.
    MatchingOnly,
    /// Codes of points that match were compared in memory, and the vectors of the nearest read.
    MatchingCodes,
    /// All vectors were compared first, because no field index could narrow the filter down, and the payloads of the
    /// nearest were asked until enough of them matched.
    CompareFirst,
    /// Most payloads were asked first, because no field index could narrow the filter down; then as by one of the others.
    PayloadsFirst,
    /// The vector index was searched for what is near to several examples, and what it found was scored by all of them.
    Candidates,
    /// What prefetches found was fused, scored by a formula, or compared.
    Prefetched,
    /// No vectors were compared: points in the order of ids or of a field, or by chance.
    InOrder,
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
    /// Pages of the vectors that match or may, at most; of those that have codes in memory, the pages that are still read.
    pub(crate) matching_pages: u64,
    /// Vectors that match or may and have codes in memory.
    pub(crate) coded: u64,
    /// If there is a vector index that may be used.
    pub(crate) index: Option<IndexEstimate>,
}

/// What a vector index would spare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEstimate {
    /// Vectors in it that are not dead, and those of them that match or may.
    pub(crate) live: u64,
    pub(crate) matching: u64,
    /// Pages of the vectors that it lacks.
    pub(crate) rest_pages: u64,
}

impl IndexEstimate {
    /// In pages that are read in a row.
    fn cost(&self, k: u64) -> u64 {
        if self.matching == 0 {
            return self.rest_pages;
        }
        let reads = INDEX_READS.max(k.saturating_mul(INDEX_READS_EACH));
        let times = (self.live as f64 / self.matching as f64).max(1.0);
        // Where few match, the lists that hold enough of them are not where they would be if they lay evenly.
        let times = if times > 1.0 / FEW_SHARE { times * FARTHER } else { times };
        self.rest_pages.saturating_add(((reads as f64 * times) as u64).saturating_mul(RANDOM_COST))
    }
}

/// Which vectors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// All.
    All,
    /// Those that match.
    Matching,
    /// Those that the index leads to, and those that it lacks.
    Index,
}

/// A choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) strategy: Strategy,
    pub(crate) reads: Reads,
    /// What decided, in words.
    pub(crate) why: String,
}

pub(crate) fn choose_strategy(estimate: &Estimate) -> Choice {
    let Estimate { points, matching, unsure, k, all_pages, matching_pages, coded, index } = *estimate;
    // Where all that match are wanted, the index would be looked through to the end.
    let index = index.filter(|index| k < index.matching || index.matching == 0);
    let index = index.map(|index| (index, index.cost(k)));
    let Some(matching) = matching else {
        if let Some((index, _)) = index.filter(|(_, cost)| *cost < all_pages) {
            let why = format!("{} vectors are in the index, {} pages are not", index.live, index.rest_pages);
            return Choice { strategy: Strategy::Index, reads: Reads::Index, why };
        }
        let why = format!("no filter: all {all_pages} pages of vectors are read");
        return Choice { strategy: Strategy::Exact, reads: Reads::All, why };
    };
    let picks_cost = matching_pages.saturating_mul(RANDOM_COST).saturating_add(coded / CODES_PER_COST);
    let by_index = index.filter(|(_, cost)| *cost < picks_cost.min(all_pages));
    let reads = match by_index {
        Some(_) => Reads::Index,
        None if picks_cost < all_pages || matching == 0 => Reads::Matching,
        None => Reads::All,
    };
    if unsure * 2 > points {
        let open =
            format!("no field index tells of {unsure} of {points} points in segments whether they match");
        if first_tries(k).saturating_mul(LAZY_SHARE) < unsure {
            let why = format!("{open}, and only {k} are wanted: the nearest are asked");
            let reads = if reads == Reads::Matching { Reads::All } else { reads };
            return Choice { strategy: Strategy::CompareFirst, reads, why };
        }
        return Choice {
            strategy: Strategy::PayloadsFirst,
            reads,
            why: format!("{open}: all of them are asked"),
        };
    }
    let (strategy, read) = match reads {
        Reads::Matching if coded > 0 => (Strategy::MatchingCodes, "those that codes in memory lead to"),
        Reads::Matching => (Strategy::MatchingOnly, "only theirs"),
        Reads::All => (Strategy::FilteredScan, "all"),
        Reads::Index => (Strategy::FilteredIndex, "those that the index leads to"),
    };
    let why = format!(
        "{matching} of {points} points in segments match; their vectors are on {matching_pages} of {all_pages} pages at \
         most, so {read} are read"
    );
    Choice { strategy, reads, why }
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
        use Reads::{All, Index as ByIndex, Matching};
        use Strategy::{
            CompareFirst, Exact, FilteredIndex, FilteredScan, Index, MatchingCodes, MatchingOnly,
            PayloadsFirst,
        };
        let of = |matching, unsure, matching_pages| Estimate {
            points: 10_000,
            matching,
            unsure,
            k: 25,
            all_pages: 100,
            matching_pages,
            coded: 0,
            index: None,
        };
        let with_index = |matching: Option<u64>, unsure, matching_pages, rest_pages| {
            let index = IndexEstimate { live: 10_000, matching: matching.unwrap_or(10_000), rest_pages };
            Estimate { all_pages: 1_001, index: Some(index), ..of(matching, unsure, matching_pages) }
        };
        let cases = [
            (of(None, 0, 0), Exact, All),
            (of(Some(0), 0, 0), MatchingOnly, Matching),
            (of(Some(12), 0, 12), MatchingOnly, Matching),
            (of(Some(13), 0, 13), FilteredScan, All),
            (of(Some(900), 0, 100), FilteredScan, All),
            (of(Some(9_000), 5_000, 100), FilteredScan, All),
            (of(Some(9_000), 5_001, 100), CompareFirst, All),
            (Estimate { k: 150, ..of(Some(9_000), 5_001, 100) }, PayloadsFirst, All),
            (Estimate { k: 1 << 20, ..of(Some(9_000), 9_000, 100) }, PayloadsFirst, All),
            // 60 pages of 8, and those of the rest.
            (with_index(None, 0, 1_000, 520), Index, ByIndex),
            (with_index(None, 0, 1_000, 521), Exact, All),
            (with_index(Some(10_000), 0, 1_000, 520), FilteredIndex, ByIndex),
            (with_index(Some(8_000), 0, 1_000, 400), FilteredIndex, ByIndex),
            (with_index(Some(8_000), 0, 1_000, 401), FilteredScan, All),
            (Estimate { all_pages: 5_000, ..with_index(Some(2_500), 0, 2_000, 199) }, FilteredIndex, ByIndex),
            (Estimate { all_pages: 5_000, ..with_index(Some(2_500), 0, 2_000, 200) }, FilteredScan, All),
            // Codes cost a little each, and the pages that are still read.
            (Estimate { coded: 29_999, ..of(Some(9_000), 0, 0) }, MatchingCodes, Matching),
            (Estimate { coded: 30_000, ..of(Some(9_000), 0, 0) }, FilteredScan, All),
            (Estimate { coded: 22_500, ..of(Some(9_000), 0, 3) }, MatchingCodes, Matching),
            (Estimate { coded: 22_500, ..of(Some(9_000), 0, 4) }, FilteredScan, All),
            (with_index(Some(50), 0, 50, 0), MatchingOnly, Matching),
            // Of many, each costs.
            (Estimate { k: 62, ..with_index(None, 0, 1_000, 0) }, Index, ByIndex),
            (Estimate { k: 63, ..with_index(None, 0, 1_000, 0) }, Exact, All),
            (Estimate { k: 9_000, ..with_index(Some(9_000), 0, 1_000, 0) }, FilteredScan, All),
            (Estimate { k: 10, ..with_index(Some(9_000), 9_000, 900, 0) }, CompareFirst, ByIndex),
        ];
        for (estimate, strategy, reads) in cases {
            let choice = choose_strategy(&estimate);
            assert_eq!((choice.strategy, choice.reads), (strategy, reads), "{estimate:?}: {}", choice.why);
        }
        let empty = Estimate { points: 0, all_pages: 0, ..of(Some(0), 0, 0) };
        assert_eq!(choose_strategy(&empty).strategy, MatchingOnly);
    }
}
