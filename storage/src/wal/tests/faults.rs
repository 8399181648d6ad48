//! Operations that fail while the system lives on: what fails is said, what was synced is there, and where the log
//! says that it can go on it can.

use super::history::{History, Random, Wrong};
use super::{open, payload, seeds};
use crate::disk::sim::{Fault, Faults, SimDisk};

const FAULTS: [Fault; 4] = [Fault::Io, Fault::NoSpace, Fault::ShortRead, Fault::LostSync];

/// A script in which some operations fail, each in its way. The process starts anew when the log is poisoned; the
/// power fails at the end, or in the middle as well.
fn history_with(seed: u64, faults: &[(u64, Fault)], steps: usize) -> Result<u64, Wrong> {
    let mut history = History::new(seed);
    let mut luck = Random::new(seed ^ faults.first().map_or(0, |(at, _)| *at));
    history.disk.set_faults(Faults { at: faults.to_vec(), ..Faults::default() });
    let (mut done, mut failed) = (0, 0);
    while done < steps {
        let outcome = if history.is_running() { history.step().map(Ok) } else { history.start() };
        match outcome {
            Ok(checked) => {
                checked?;
                done += 1;
            }
            Err(error) if failed < faults.len() * 2 => {
                failed += 1;
                if error.is_poisoned() {
                    let again = history.step().err();
                    // What is not a call of the log cannot fail.
                    let refused = again.is_none_or(|again| again.is_poisoned());
                    if !refused {
                        return Err("a poisoned log goes on".to_owned());
                    }
                    history.end();
                }
            }
            Err(error) => return Err(format!("{error}, without a fault")),
        }
        // Some faults are only felt when the power fails.
        if failed > 0 && luck.below(60) == 0 {
            history.crash(&mut luck);
        }
    }
    let operations = history.disk.operations();
    history.crash(&mut luck);
    history.recover(&mut luck, false)?;
    Ok(operations)
}

/// A history with a few faults at operations of chance.
pub(super) fn chance(seed: u64) -> Result<(), Wrong> {
    let mut luck = Random::new(seed ^ 0xfa17);
    let faults: Vec<_> =
        (0..1 + luck.below(4)).map(|_| (1 + luck.below(250), FAULTS[luck.below(4) as usize])).collect();
    history_with(seed, &faults, 80).map(|_| ())
}

#[test]
fn every_operation_may_fail_in_every_way() {
    for script in 0..3 {
        let operations = history_with(script, &[], 40).unwrap();
        for at in 1..=operations {
            for fault in FAULTS {
                history_with(script, &[(at, fault)], 40)
                    .unwrap_or_else(|wrong| panic!("{script}, {fault:?} at {at}: {wrong}"));
            }
        }
    }
}

#[test]
fn several_operations_may_fail() {
    let wrong: Vec<_> =
        (0..seeds(500)).filter_map(|seed| chance(seed).err().map(|wrong| (seed, wrong))).collect();
    assert!(wrong.is_empty(), "{} histories, such as {:?}", wrong.len(), wrong[0]);
}

#[test]
fn a_failed_sync_ends_the_log_until_it_is_opened_anew() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    wal.append(&[b"one"]).unwrap();
    wal.sync().unwrap();
    wal.append(&[b"two"]).unwrap();
    let fault = Faults { at: vec![(disk.operations() + 2, Fault::LostSync)], ..Faults::default() };
    disk.set_faults(fault);
    let first = wal.sync().unwrap_err();
    assert!(first.is_poisoned() && !first.is_no_space(), "{first}");
    assert!(first.to_string().contains("wal.000001") && first.to_string().contains("sync"), "{first}");
    let all = [
        wal.append(&[b"three"]).map(|_| ()),
        wal.sync().map(|_| ()),
        wal.seal(),
        wal.rotate(),
        wal.trim(1),
        wal.prepare(),
        wal.close(),
    ];
    for error in all.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.to_string(), first.to_string());
    }
    // The system still shows the record, so it counts; but now it is made durable.
    let (mut wal, records) = open(&disk, 0).unwrap();
    assert_eq!((records.len(), wal.durable_lsn()), (2, 2));
    wal.append(&[b"three"]).unwrap();
    wal.sync().unwrap();
    drop(wal);
    disk.crash(1);
    assert_eq!(open(&disk, 0).unwrap().1.len(), 3);
}

#[test]
fn an_error_of_replay_is_handed_on() {
    let disk = SimDisk::new(0);
    let (mut wal, _) = open(&disk, 0).unwrap();
    wal.append(&[&payload(1, 10)]).unwrap();
    wal.close().unwrap();
    let refuse = &mut |_, _: &[u8]| Err(crate::StorageError::Locked { dir: "here".into() });
    let opened = crate::Wal::open(std::sync::Arc::new(disk), super::STORE, super::SMALL, 0, refuse);
    assert!(matches!(opened, Err(crate::StorageError::Locked { .. })));
}
