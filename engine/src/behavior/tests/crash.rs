//! The power goes at any operation, and again while the space recovers; disks fail and fill up.

use nearline_index::sdim::Normalize;
use nearline_storage::{Disk, Fault, Faults, SimDisk};

use super::super::{BehaviorError, BehaviorSpace};
use super::twin::{Call, Twin};
use super::{Random, create, open};

pub(super) fn script(seed: u64, count: u64) -> Vec<Call> {
    let mut random = Random(seed);
    let all_items = Call::Items((0..30).collect());
    let calls = (0..count).map(|i| Call::random(&mut random, 1_000 + i as i64));
    std::iter::once(all_items).chain(calls).collect()
}

/// The moments from the last call that was acknowledged on: one of them must be found.
pub(super) fn run(space: &BehaviorSpace, script: &[Call], twin: &Twin) -> Vec<Twin> {
    let mut moments = vec![twin.clone()];
    for call in script {
        let mut after = moments[0].clone();
        let expected = after.apply(call);
        match call.make(space) {
            Ok(found) => {
                assert_eq!(Some(found), expected);
                moments = vec![after];
            }
            Err(BehaviorError::UnknownItem { .. } | BehaviorError::Bad { .. }) if expected.is_none() => {
                moments = vec![after];
            }
            Err(_) => {
                if matches!(call, Call::Build) {
                    // It may have begun.
                    moments.push(moments[0].building());
                }
                moments.push(after);
                return moments;
            }
        }
    }
    moments
}

pub(super) fn reopen(disk: &SimDisk, random: &mut Random, cuts: u64) -> BehaviorSpace {
    for _ in 0..cuts {
        disk.crash_at(disk.operations() + 1 + random.below(40));
        drop(open(disk));
        disk.crash(random.next());
    }
    open(disk).unwrap()
}

#[test]
fn the_power_goes_at_every_operation() {
    let script = script(3, 60);
    let operations = {
        let disk = create(0, Normalize::L2);
        let before = disk.operations();
        assert_eq!(run(&open(&disk).unwrap(), &script, &Twin::default()).len(), 1);
        assert!(disk.list().unwrap().iter().any(|name| name.starts_with("histories.")));
        disk.operations() - before
    };
    assert!(operations > 400, "{operations}");
    for at in 1..=operations + 3 {
        let disk = create(at, Normalize::L2);
        let mut random = Random(at);
        disk.crash_at(disk.operations() + at);
        let moments = open(&disk)
            .map_or_else(|_| vec![Twin::default()], |space| run(&space, &script, &Twin::default()));
        disk.crash(random.next());
        let space = reopen(&disk, &mut random, at % 3);
        let twin = moments.iter().find(|twin| twin.holds(&space));
        let twin = twin.unwrap_or_else(|| panic!("no moment after a crash at operation {at}"));
        // It goes on as if nothing had been.
        let rest = run(&space, &script[script.len() - 20..], twin);
        assert!(rest.len() == 1 && rest[0].holds(&space));
        space.inner.verify().unwrap();
    }
}

#[test]
fn a_write_that_comes_again_after_a_crash_counts_once() {
    for seed in 0..200 {
        let mut random = Random(seed ^ 0x0ce);
        let disk = create(seed, Normalize::L2);
        let script: Vec<Call> = (0..30)
            .map(|offset| {
                let source = super::super::SourceOffset { source: "s".to_owned(), partition: 0, offset };
                let behaviors = (0..3).map(|i| {
                    let behavior = super::super::Behavior::new(i, random.next(), offset as i64, 0);
                    behavior.vector(random.vector())
                });
                Call::Append(Some(source), behaviors.collect())
            })
            .collect();
        let mut whole = Twin::default();
        script.iter().for_each(|call| assert!(whole.apply(call).is_some()));
        disk.crash_at(disk.operations() + 1 + random.below(150));
        if let Ok(space) = open(&disk) {
            script.iter().take_while(|call| call.make(&space).is_ok()).count();
        }
        disk.crash(random.next());
        // The source does not know what arrived: all of it comes again.
        let space = open(&disk).unwrap();
        script.iter().for_each(|call| assert!(call.make(&space).is_ok()));
        assert!(whole.holds(&space), "{seed}");
    }
}

#[test]
fn faults_lose_nothing_that_was_acknowledged() {
    for seed in 0..300 {
        let mut random = Random(seed ^ 0xfa_17);
        let disk = create(seed, Normalize::Count);
        let script = script(seed, 50);
        let space = open(&disk).unwrap();
        let kinds = [Fault::Io, Fault::NoSpace, Fault::LostSync, Fault::ShortRead];
        let fault = |random: &mut Random| {
            let kind = kinds[random.below(kinds.len() as u64) as usize];
            (disk.operations() + 1 + random.below(300), kind)
        };
        let at = vec![fault(&mut random), fault(&mut random)];
        disk.set_faults(Faults { at, ..Faults::default() });
        let moments = run(&space, &script, &Twin::default());
        disk.set_faults(Faults::default());
        drop(space);
        if random.once_in(2) {
            disk.crash(random.next());
        }
        let space = open(&disk).unwrap();
        assert!(moments.iter().any(|twin| twin.holds(&space)), "{seed}");
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let disk = create(1, Normalize::L2);
    let space = open(&disk).unwrap();
    let mut twin = Twin::default();
    let bytes: u64 =
        disk.list().unwrap().iter().filter_map(|name| disk.bytes(name)).map(|b| b.len() as u64).sum();
    disk.set_faults(Faults { space: Some(bytes + 60_000), ..Faults::default() });
    let mut refused = 0;
    for call in &script(5, 200) {
        let mut after = twin.clone();
        let expected = after.apply(call);
        match call.make(&space) {
            Ok(_) => twin = after,
            Err(BehaviorError::UnknownItem { .. }) => assert!(expected.is_none()),
            Err(error) if error.is_in_doubt() => panic!("{error}"),
            Err(_) => refused += 1,
        }
        assert!(twin.holds(&space));
    }
    assert!(refused > 0);
    disk.set_faults(Faults::default());
    Call::Flush.make(&space).unwrap();
    assert!(twin.holds(&space));
    drop(space);
    assert!(twin.holds(&open(&disk).unwrap()));
}

#[test]
fn no_flipped_bit_passes_for_the_truth() {
    let disk = create(2, Normalize::L2);
    let mut twin = Twin::default();
    let space = open(&disk).unwrap();
    for call in &script(9, 40) {
        if twin.apply(call).is_some() {
            call.make(&space).unwrap();
        }
    }
    Call::Flush.make(&space).unwrap();
    drop(space);
    let names: Vec<String> =
        disk.list().unwrap().into_iter().filter(|name| !name.starts_with("wal.")).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let bits = disk.bytes(&name).unwrap().len() as u64 * 8;
        for bit in (0..bits).step_by(1_009) {
            disk.flip_bit(&name, bit);
            let verified = open(&disk).and_then(|space| space.inner.verify());
            assert!(verified.is_err(), "{name}, bit {bit}");
            disk.flip_bit(&name, bit);
        }
    }
    assert!(twin.holds(&open(&disk).unwrap()));
}
