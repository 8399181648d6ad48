//! Every planted mistake is caught: that is what the other tests here are worth.

use super::history::Wrong;
use super::{crash, damage, faults};
use crate::wal::planted::{Bug, PLANTED};

/// Runs a test on the log with a mistake in it, until it is caught.
fn caught(bug: Bug, tries: u64, test: fn(u64) -> Result<(), Wrong>) {
    PLANTED.set(Some(bug));
    let found = (0..tries).find_map(|seed| test(seed).err().map(|wrong| (seed, wrong)));
    PLANTED.set(None);
    assert!(found.is_some(), "{bug:?} got through {tries} histories");
    assert_eq!(found.iter().find_map(|(seed, _)| test(*seed).err()), None, "{bug:?}: {found:?}");
}

#[test]
fn no_sync_is_caught() {
    caught(Bug::NoSync, 20, crash::cuts);
}

#[test]
fn no_sync_of_the_folder_is_caught() {
    caught(Bug::NoFolderSync, 20, crash::cuts);
}

#[test]
fn no_checksum_is_caught() {
    caught(Bug::NoChecksum, 400, crash::cuts);
}

#[test]
fn a_sync_tried_again_is_caught() {
    caught(Bug::RetrySync, 200, faults::chance);
}

#[test]
fn damage_taken_for_a_torn_tail_is_caught() {
    caught(Bug::EveryTailTorn, 1, |_| damage::flips(true).map(|_| ()));
}

#[test]
fn remains_of_an_old_tail_are_caught() {
    caught(Bug::ReuseTail, 1000, crash::short_days);
}

#[test]
fn records_found_and_not_copied_are_caught() {
    caught(Bug::TrustTail, 200, faults::chance);
}

#[test]
fn a_name_before_its_bytes_is_caught() {
    caught(Bug::NameFirst, 100, crash::cuts);
}

#[test]
fn a_segment_left_unsynced_is_caught() {
    caught(Bug::NoSyncBeforeSwitch, 100, crash::cuts);
}

#[test]
fn a_hole_not_looked_for_is_caught() {
    caught(Bug::NoHoleCheck, 1, |_| damage::holes());
}
