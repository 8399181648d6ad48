//! Mistakes that tests make the log commit, to show that they would notice them. Outside this crate's own tests there
//! are none.

/// A mistake about durability that somebody could make here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Says that records are durable without a sync.
    NoSync,
    /// Uses a new segment before its name is durable.
    NoFolderSync,
    /// Believes records whatever their checksum.
    NoChecksum,
    /// Tries a failed sync once more and believes the second answer.
    RetrySync,
    /// Takes any bad record for the end of the log.
    EveryTailTorn,
    /// Goes on behind the last good record of a segment that was there before.
    ReuseTail,
    /// Takes for durable what was merely found.
    TrustTail,
    /// Gives a new segment its name before its bytes are durable.
    NameFirst,
    /// Leaves a segment for the next one without syncing it.
    NoSyncBeforeSwitch,
    /// Takes a hole between segments for none.
    NoHoleCheck,
}

#[cfg(test)]
thread_local! {
    /// The mistake of this thread's logs.
    pub(super) static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether to make this mistake.
#[cfg(test)]
pub(super) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether to make this mistake: no.
#[cfg(not(test))]
pub(super) const fn planted(_: Bug) -> bool {
    false
}
