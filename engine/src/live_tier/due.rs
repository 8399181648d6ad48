//! What is to be done about the live tier, decided from a description alone.

/// Something to do about the live tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What an earlier process left is opened and proved.
    Adopt,
    /// It is made anew, of the segments from this one on.
    Build {
        /// The first, counted from the oldest.
        from: usize,
    },
    /// It takes in the segments that came since, and is stamped.
    Extend,
    /// It goes, with its folder.
    Retire,
}

/// A collection as the choice sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Points of each segment, oldest first.
    pub(super) segments: Vec<u64>,
    /// What the tier has, if it serves.
    pub(super) has: Option<Has>,
    /// Whether there is a folder that nobody opened.
    pub(super) is_left: bool,
    /// Segments from which on it is worth having, and entries at most.
    pub(super) segments_min: usize,
    pub(super) entries_max: u64,
}

/// What a tier that serves has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Has {
    /// Segments that need not be asked, and entries.
    pub(super) segments: usize,
    pub(super) entries: u64,
    /// Segments that came since, and their points.
    pub(super) more_segments: usize,
    pub(super) more_points: u64,
    /// Whether its stamp names the segments as they are.
    pub(super) is_stamped: bool,
}

/// The next thing to do, if any.
pub(super) fn choose(view: &View) -> Option<Step> {
    let newest = newest(&view.segments, view.entries_max / 2);
    let is_worth_it = newest >= view.segments_min;
    let build = Step::Build { from: view.segments.len() - newest };
    match view.has {
        None if view.is_left => Some(if is_worth_it { Step::Adopt } else { Step::Retire }),
        None => is_worth_it.then_some(build),
        // It goes only at half of what it came for, so that it does not come and go.
        Some(has) if has.segments + has.more_segments < view.segments_min / 2 => Some(Step::Retire),
        Some(has) if has.more_segments == 0 => (!has.is_stamped).then_some(Step::Extend),
        Some(has) if has.entries + has.more_points <= view.entries_max => Some(Step::Extend),
        Some(_) => Some(if is_worth_it { build } else { Step::Retire }),
    }
}

/// How many of the newest segments have so many points together at most.
fn newest(segments: &[u64], points_max: u64) -> usize {
    let mut points = 0;
    let fits = |of: &&u64| {
        points += **of;
        points <= points_max
    };
    segments.iter().rev().take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_chosen_from_a_description() {
        let view = |segments: &[u64], has, is_left| View {
            segments: segments.to_vec(),
            has,
            is_left,
            segments_min: 4,
            entries_max: 100,
        };
        let has = |segments, entries, more_segments, more_points, is_stamped| {
            Some(Has { segments, entries, more_segments, more_points, is_stamped })
        };
        let few = [1000, 10, 10, 10];
        let many = [1000, 10, 10, 10, 10, 10];
        let large = [1000, 13, 13, 13, 13];
        let cases = [
            (view(&[], None, false), None),
            (view(&few, None, false), None),
            (view(&few, None, true), Some(Step::Retire)),
            (view(&large, None, false), None),
            (view(&many, None, false), Some(Step::Build { from: 1 })),
            (view(&many, None, true), Some(Step::Adopt)),
            (view(&many, has(5, 50, 0, 0, true), false), None),
            (view(&many, has(5, 50, 0, 0, false), false), Some(Step::Extend)),
            (view(&many, has(4, 40, 1, 10, false), false), Some(Step::Extend)),
            (view(&many, has(4, 95, 1, 10, false), false), Some(Step::Build { from: 1 })),
            (view(&large, has(3, 95, 1, 13, false), false), Some(Step::Retire)),
            (view(&few, has(2, 20, 0, 0, true), false), None),
            (view(&few, has(0, 20, 1, 10, false), false), Some(Step::Retire)),
        ];
        for (view, right) in cases {
            assert_eq!(choose(&view), right, "{view:?}");
        }
    }
}
