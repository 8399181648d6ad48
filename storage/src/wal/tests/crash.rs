//! Power cuts at any moment, also while the log is opened: what was synced is there, and nothing else but what was
//! written before it was cut off.

use super::history::{History, Random, Wrong};
use super::seeds;
use crate::disk::Disk;

/// Some days in the life of a log, each ended by a power cut.
pub(super) fn cuts(seed: u64) -> Result<(), Wrong> {
    days(History::new(seed), 4, 120, seed)
}

/// Shorter days with nothing but groups of equal records, so that much breaks off and something new follows.
pub(super) fn short_days(seed: u64) -> Result<(), Wrong> {
    days(History::plain(seed), 10, 16, seed)
}

fn days(mut history: History, days: u64, operations: u64, seed: u64) -> Result<(), Wrong> {
    let mut luck = Random::new(seed ^ 0xc0ffee);
    for _ in 0..days {
        history.recover(&mut luck, true)?;
        history.disk.crash_at(history.disk.operations() + 1 + luck.below(operations));
        history.until_the_power_fails(&mut luck)?;
    }
    history.recover(&mut luck, true)
}

/// The power is cut at the operation `at`, and again at operation `again` of the start after it.
fn cut_at(seed: u64, at: u64, again: u64) -> Result<u64, Wrong> {
    let mut history = History::new(seed);
    let mut luck = Random::new(at.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ again);
    history.disk.crash_at(at);
    for _ in 0..40 {
        let started = if history.is_running() { Ok(Ok(())) } else { history.start() };
        match started.map(|checked| checked.map(|()| history.step())) {
            Ok(Ok(Ok(()))) => {}
            Ok(Err(wrong)) => return Err(wrong),
            Err(error) | Ok(Ok(Err(error))) if history.disk.operations() < at => {
                return Err(error.to_string());
            }
            Err(_) | Ok(Ok(Err(_))) => break,
        }
    }
    let operations = history.disk.operations();
    history.crash(&mut luck);
    history.disk.crash_at(history.disk.operations() + again);
    if let Ok(checked) = history.start() {
        checked?;
    }
    history.crash(&mut luck);
    history.recover(&mut luck, false)?;
    history.recover(&mut luck, false)?;
    Ok(operations)
}

#[test]
fn what_was_synced_survives_power_cuts() {
    for test in [cuts, short_days] {
        let wrong: Vec<_> =
            (0..seeds(400)).filter_map(|seed| test(seed).err().map(|wrong| (seed, wrong))).collect();
        assert!(wrong.is_empty(), "{} histories, such as {:?}", wrong.len(), wrong[0]);
    }
}

#[test]
fn the_power_may_fail_at_every_operation() {
    for script in 0..4 {
        let operations = cut_at(script, u64::MAX, 1).unwrap();
        assert!((60..2000).contains(&operations), "{operations}");
        for at in 1..=operations {
            for again in [1, 5, 9, 14, 20] {
                cut_at(script, at, again).unwrap_or_else(|wrong| panic!("{script}, {at}, {again}: {wrong}"));
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let run = |seed| {
        let mut history = History::new(seed);
        let _ = history.until_the_power_fails(&mut Random::new(1));
        (history.disk.operations(), history.disk.list().unwrap().len())
    };
    assert_eq!(run(3), run(3));
}
