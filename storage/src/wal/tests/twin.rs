//! The log and its naive twin: a vector.

use proptest::prelude::*;

use super::{open, payload};
use crate::disk::sim::SimDisk;

#[derive(Clone, Debug)]
enum Op {
    Append(usize),
    Sync,
    Seal,
    Rotate,
    Prepare,
    Trim,
    Close,
    /// The process dies; what the log had not handed to the system is gone.
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0_usize..6000).prop_map(Op::Append),
        10 => (0_usize..300).prop_map(Op::Append),
        4 => Just(Op::Sync),
        1 => Just(Op::Seal),
        1 => Just(Op::Rotate),
        1 => Just(Op::Prepare),
        1 => Just(Op::Trim),
        1 => Just(Op::Close),
        1 => Just(Op::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vector(ops in prop::collection::vec(op(), 1..80)) {
        let disk = SimDisk::new(0);
        let (mut twin, mut synced, mut after): (Vec<Vec<u8>>, u64, u64) = (Vec::new(), 0, 0);
        let (mut wal, _) = open(&disk, 0).unwrap();
        for op in ops {
            match op {
                Op::Append(len) => {
                    let bytes = payload(twin.len() as u64, len);
                    twin.push(bytes.clone());
                    let (one, two) = bytes.split_at(len / 2);
                    prop_assert_eq!(wal.append(&[one, two]).unwrap(), twin.len() as u64);
                }
                Op::Sync => {
                    synced = wal.sync().unwrap();
                    prop_assert_eq!(synced, twin.len() as u64);
                }
                Op::Seal => wal.seal().unwrap(),
                Op::Rotate => wal.rotate().unwrap(),
                Op::Prepare => wal.prepare().unwrap(),
                Op::Trim => {
                    after = wal.durable_lsn();
                    wal.trim(after).unwrap();
                }
                Op::Close | Op::Kill => {
                    synced = wal.durable_lsn().max(synced);
                    if matches!(op, Op::Close) {
                        wal.close().unwrap();
                        synced = twin.len() as u64;
                    } else {
                        drop(wal);
                    }
                    let (opened, records) = open(&disk, after).unwrap();
                    wal = opened;
                    prop_assert!((synced..=twin.len() as u64).contains(&wal.last_lsn()));
                    twin.truncate(wal.last_lsn() as usize);
                    let expected: Vec<_> = (after + 1..).zip(twin[after as usize..].iter().cloned()).collect();
                    prop_assert_eq!(records, expected);
                }
            }
            prop_assert_eq!(wal.last_lsn(), twin.len() as u64);
            prop_assert!(wal.durable_lsn() >= synced);
        }
    }
}
