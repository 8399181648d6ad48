//! What is to be done about a vector index, decided from a description alone.

use std::time::Duration;

/// An index is written anew when one vector in so many was added to it, or died.
const ADDED_SHARE: u64 = 8;
const DEAD_SHARE: u64 = 8;
/// And before more are added when there are so many times as many.
const ADDED_MOST: u64 = 2;
/// It is built as a whole when it has so many times as many vectors as when it was, or as few: it is measured anew then.
const BUILT_SHARE: u64 = 4;
/// Likewise when so many times as many lists are looked at, and one vector in `BUILT_SHARE` came since.
const WIDE: f32 = 1.2;
/// Vectors are added when there are more than one in so many of those that make an index worth it.
const REST_SHARE: u64 = 64;
/// For how long nothing was added when one that serves is built as a whole again: for so long, and for about as long as
/// building takes, so that what is given up because writers come back is never more than the time they were away.
const QUIET: Duration = Duration::from_secs(5);
const QUIET_PER_VECTOR: Duration = Duration::from_micros(30);

/// The vectors of one name as the choice of what to do sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct IndexView {
    /// The index, if there is one.
    pub(crate) listed: Option<ListedView>,
    /// Vectors in segments that are in no list.
    pub(crate) rest: u64,
    /// Vectors below which there is no use for an index.
    pub(crate) least: u64,
    /// For how long nothing was added.
    pub(crate) quiet: Duration,
}

/// An index as the choice sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ListedView {
    /// Vectors on disk, and those added since.
    pub(crate) rows: u64,
    pub(crate) added: u64,
    /// Of all these, those that are not dead.
    pub(crate) live: u64,
    /// Vectors when it was built as a whole.
    pub(crate) built: u64,
    /// Bytes of what was added, and at which it is written.
    pub(crate) bytes: u64,
    pub(crate) bytes_most: u64,
    /// By which factor more lists are looked at than were right after it was built.
    pub(crate) widen: f32,
    /// Whether it cannot take a vector that it should.
    pub(crate) is_outgrown: bool,
}

/// Something to do about an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexJob {
    /// Build it over all vectors.
    Build,
    /// The same, where the one there is serves meanwhile: given up when writers come back.
    Rebuild,
    /// Add what it lacks.
    Add,
    /// Write it with what was added, and without what is dead.
    Fold,
}

/// The next thing to do about an index, if any.
pub(crate) fn choose_index(view: &IndexView) -> Option<IndexJob> {
    let IndexView { listed, rest, least, quiet } = *view;
    let Some(listed) = listed else { return (rest >= least.max(1)).then_some(IndexJob::Build) };
    if listed.is_outgrown {
        return Some(IndexJob::Build);
    }
    let all = listed.rows + listed.added;
    let most = (listed.rows / ADDED_SHARE).max(least / 8).max(1);
    if listed.added > 0 && (listed.added >= ADDED_MOST * most || listed.bytes >= listed.bytes_most) {
        return Some(IndexJob::Fold);
    }
    if rest > least / REST_SHARE {
        return Some(IndexJob::Add);
    }
    if listed.added >= most || (all - listed.live.min(all)) * DEAD_SHARE > all {
        return Some(IndexJob::Fold);
    }
    let is_worse = listed.widen > WIDE && listed.live > listed.built + listed.built / BUILT_SHARE;
    let is_other = listed.live >= BUILT_SHARE * listed.built || listed.live * BUILT_SHARE < listed.built;
    let is_quiet = quiet > QUIET + Duration::from_micros(QUIET_PER_VECTOR.as_micros() as u64 * listed.live);
    (is_quiet && (is_other || is_worse) && listed.live >= least).then_some(IndexJob::Rebuild)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_chosen_from_a_description() {
        use IndexJob::{Add, Build, Fold, Rebuild};
        let none = |rest| IndexView { rest, least: 6_400, ..IndexView::default() };
        let listed = ListedView {
            rows: 160_000,
            live: 160_000,
            built: 160_000,
            bytes_most: 1_000,
            ..ListedView::default()
        };
        let some = |listed, rest| IndexView { listed: Some(listed), ..none(rest) };
        let added = |added, rest| some(ListedView { added, live: 160_000 + added, ..listed }, rest);
        let live = |live| some(ListedView { live, ..listed }, 0);
        let since = |seconds, view: IndexView| IndexView { quiet: Duration::from_secs(seconds), ..view };
        let quiet = |view: IndexView| since(3_600, view);
        let cases = [
            (none(0), None),
            (none(6_399), None),
            (none(6_400), Some(Build)),
            (IndexView { least: u64::MAX, ..none(1 << 40) }, None),
            (some(listed, 0), None),
            (some(listed, 100), None),
            (some(listed, 101), Some(Add)),
            (added(19_999, 0), None),
            (added(20_000, 0), Some(Fold)),
            (added(20_000, 101), Some(Add)),
            (added(40_000, 101), Some(Fold)),
            (some(ListedView { added: 1, bytes: 1_000, ..listed }, 101), Some(Fold)),
            (live(140_000), None),
            (live(139_999), Some(Fold)),
            (live(0), Some(Fold)),
            (some(ListedView { is_outgrown: true, ..listed }, 1), Some(Build)),
            (some(ListedView { built: 40_000, ..listed }, 0), None),
            (quiet(some(ListedView { built: 40_000, ..listed }, 0)), Some(Rebuild)),
            (since(9, some(ListedView { built: 40_000, ..listed }, 0)), None),
            (since(10, some(ListedView { built: 40_000, ..listed }, 0)), Some(Rebuild)),
            (quiet(some(ListedView { built: 40_001, ..listed }, 0)), None),
            (quiet(some(ListedView { built: 640_001, ..listed }, 0)), Some(Rebuild)),
            (quiet(some(ListedView { built: 100_000, widen: 1.25, ..listed }, 0)), Some(Rebuild)),
            (quiet(some(ListedView { built: 100_000, widen: 1.2, ..listed }, 0)), None),
            (quiet(some(ListedView { built: 130_000, widen: 1.25, ..listed }, 0)), None),
        ];
        for (view, right) in cases {
            assert_eq!(choose_index(&view), right, "{view:?}");
        }
    }
}
