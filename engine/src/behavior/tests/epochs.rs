//! Epochs take each other's place, and nothing of it is seen but their answers.

use nearline_index::sdim::Normalize;
use nearline_storage::Disk;

use super::super::{Behavior, BehaviorError, BehaviorOptions, Candidates, EpochStage, Span, TableValues};
use super::crash::{reopen, run};
use super::twin::{Call, Twin};
use super::{DIM, Random, create, open, vector_of};

fn script(seed: u64, count: i64) -> Vec<Call> {
    let mut random = Random(seed ^ 0xe90c);
    let all_items = Call::Items((0..30).collect());
    let calls = (0..count).map(|i| Call::with_epochs(&mut random, 1_000 + i));
    std::iter::once(all_items).chain(calls).collect()
}

#[test]
fn epochs_answer_as_their_twins() {
    let (mut built, mut dropped) = (0, 0);
    for seed in 0..16 {
        let mut random = Random(seed ^ 0x7a);
        let disk = create(seed, Normalize::L2);
        let mut space = open(&disk).unwrap();
        let mut twin = Twin::default();
        for (now, call) in (1_000..).zip(&script(seed, 200)) {
            let before = space.stats().epoch;
            let moments = run(&space, std::slice::from_ref(call), &twin);
            assert_eq!(moments.len(), 1, "{call:?}");
            twin = moments.into_iter().next().unwrap();
            built += u64::from(space.stats().epoch != before);
            dropped += u64::from(matches!(call, Call::Drop(_)));
            let at = now - if random.once_in(6) { random.below(40) as i64 } else { 0 };
            twin.compare(&space, &mut random, at);
            if random.once_in(20) {
                drop(space);
                space = open(&disk).unwrap();
                twin.compare(&space, &mut random, at);
            }
            assert!(twin.holds(&space), "{seed}: {call:?}");
        }
        Call::Flush.make(&space).unwrap();
        space.inner.verify().unwrap();
    }
    assert!(built > 60 && dropped > 60, "{built} built, {dropped} dropped");
}

/// A script in which each way of one epoch after another comes once or more.
fn changes() -> Vec<Call> {
    let mut script = script(5, 24);
    let epoch = |seed, is_new, keeps| Call::Epoch { seed, is_new, keeps };
    let all = || Call::NextItems((0..30).collect());
    for (seed, is_new, keeps) in [(0x0101_0101, false, true), (0x0202_0203, true, false), (77, true, true)] {
        script.push(epoch(seed, is_new, keeps));
        script.push(all());
        script.push(Call::Build);
        let mut random = Random(seed);
        script.extend((0..5).map(|i| Call::random(&mut random, 1_040 + i)));
        script.push(Call::Drop(0));
    }
    script
}

#[test]
fn the_power_goes_at_every_operation_of_a_change() {
    let script = changes();
    let operations = {
        let disk = create(0, Normalize::L2);
        let before = disk.operations();
        let space = open(&disk).unwrap();
        assert_eq!(run(&space, &script, &Twin::default()).len(), 1);
        assert!(space.stats().epoch >= 4, "{:?}", space.epochs());
        disk.operations() - before
    };
    assert!(operations > 300, "{operations}");
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
        twin.compare(&space, &mut random, 1_030);
        // The build that was under way goes on, and so does everything else.
        let rest: Vec<Call> = [Call::NextItems((0..30).collect()), Call::Build]
            .into_iter()
            .chain(changes().split_off(20))
            .collect();
        let rest = run(&space, &rest, twin);
        assert!(rest.len() == 1 && rest[0].holds(&space), "{at}");
        rest[0].compare(&space, &mut random, 1_040);
        space.inner.verify().unwrap();
    }
}

/// Behaviours of users with histories long enough for tables in files.
fn filled(seed: u64) -> nearline_storage::SimDisk {
    let disk = create(seed, Normalize::L2);
    let space = open(&disk).unwrap();
    let items: Vec<u64> = (0..30).collect();
    space.put_items(&items, &items.iter().flat_map(|&item| vector_of(item)).collect::<Vec<_>>()).unwrap();
    for first in (0..600).step_by(60) {
        let one = |i| Behavior::new(i % 7, i, i as i64, i % 30);
        space.append((first..first + 60).map(one)).unwrap();
    }
    Call::Flush.make(&space).unwrap();
    disk
}

#[test]
fn a_build_writes_the_tables_and_goes_on_after_each_crash() {
    let disk = filled(1);
    let options = || BehaviorOptions::new(DIM).hashes(3, 2).seed(8).embedding_version("v1");
    let tables = |disk: &nearline_storage::SimDisk| {
        disk.list().unwrap().into_iter().filter(|name| name.starts_with("tables.")).collect::<Vec<_>>()
    };
    let before = tables(&disk);
    let space = open(&disk).unwrap();
    let number = space.create_epoch(options(), false).unwrap();
    assert_eq!(number, 2);
    space.inner.begin_build(number).unwrap();
    let steps = (1..).take_while(|_| space.inner.build_step().unwrap()).count();
    assert!(steps > 0, "it takes several steps");
    let [info] = &space.epochs()[..] else { panic!("{:?}", space.epochs()) };
    assert_eq!((info.number, info.stage), (2, EpochStage::Serving));
    let after = tables(&disk);
    assert!(!after.is_empty() && before.iter().all(|name| !after.contains(name)));
    drop(space);
    // They are read, and nothing of the history.
    let space = open(&disk).unwrap();
    let before = disk.operations();
    let (history, files) = space.inner.history(3).unwrap();
    let table = files.table(3, &history, &super::serving(&space)).expect("it is in a file");
    assert_eq!(table.end as u64, history.len());
    assert!(disk.operations() - before < 12);
}

#[test]
fn a_build_that_lacks_an_item_says_which_and_takes_it() {
    let disk = filled(2);
    let space = open(&disk).unwrap();
    let options = BehaviorOptions::new(3).hashes(2, 2).embedding_version("v2");
    let epoch = space.create_epoch(options.clone(), true).unwrap();
    let busy = space.create_epoch(options, true).unwrap_err().to_string();
    assert!(busy.contains("epoch 2 is being made"), "{busy}");
    let items: Vec<u64> = (0..29).collect();
    space.put_items_of(epoch, &items, &vec![0.5; 29 * 3]).unwrap();
    space.inner.begin_build(epoch).unwrap();
    // Behaviours that come meanwhile need vectors in both.
    let missing = space.append([Behavior::new(1, 9_999, 9_999, 29)]).unwrap_err();
    assert!(matches!(missing, BehaviorError::UnknownItem { item: 29, epoch: 2 }), "{missing}");
    space.append([Behavior::new(1, 9_999, 9_999, 3)]).unwrap();
    let missing = space.finish_build().unwrap_err();
    assert!(matches!(missing, BehaviorError::UnknownItem { item: 29, epoch: 2 }), "{missing}");
    assert_eq!(space.epochs()[1].stage, EpochStage::Filling);
    assert_eq!(space.stats().epoch, 1);
    space.append([Behavior::new(1, 10_000, 9_999, 29)]).unwrap();
    space.put_items_of(epoch, &[29], &[0.25; 3]).unwrap();
    space.build_epoch(epoch).unwrap();
    while space.stats().epoch == 1 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(space.shape().dim(), 3);
    assert!(space.put_items_of(1, &[1], &[0.0; DIM]).unwrap_err().to_string().contains("epoch of items"));
    // The old one answers when asked; what it cannot count it does not.
    space.put_items(&[77], &[1.0; 3]).unwrap();
    space.append([Behavior::new(1, 10_001, 10_001, 77)]).unwrap();
    let old = space.at(0).epoch(1).unwrap();
    let new = space.at(0);
    assert_eq!(old.behaviors(1, Span::Last(1)).unwrap()[0].item, 77);
    let [old_len, new_len] = [&old, &new].map(|reader| reader.tables(&[1]).unwrap()[0].table.len());
    assert_eq!(old_len + 1, new_len);
    assert!(old.interest(1, &Candidates::Items(&[77])).is_err());
    assert_eq!(new.interest(1, &Candidates::Items(&[77])).unwrap().len(), 3);
    // A reader that began before its epoch went is told so.
    let kept = space.at(0).epoch(1).unwrap();
    assert!(space.drop_epoch(2).unwrap_err().to_string().contains("does not serve"));
    space.drop_epoch(1).unwrap();
    assert!(matches!(space.drop_epoch(1), Err(BehaviorError::UnknownEpoch { epoch: 1, .. })));
    assert!(matches!(kept.interest(2, &Candidates::Items(&[500])), Err(BehaviorError::UnknownEpoch { .. })));
    assert!(disk.list().unwrap().iter().any(|name| name == "EPOCH"), "its planes tell the length of vectors");
    assert!(space.build_epoch(2).is_err() && space.build_epoch(7).is_err());
    let other = BehaviorOptions::new(4).embedding_version("v2");
    assert!(space.create_epoch(other, true).unwrap_err().to_string().contains("as the embeddings"));
}

#[test]
fn a_manifest_of_before_there_were_epochs_is_read() {
    use super::super::manifest::Manifest;
    use nearline_storage::{Decoder, Encoder};
    let mut out = Encoder::new();
    out.u16(2).u64(9).u64(1).u64(2).u64(3);
    for files in [&[4u64][..], &[5, 6], &[7]] {
        out.u32(files.len() as u32);
        files.iter().for_each(|&number| {
            out.u64(number);
        });
    }
    out.u32(0);
    let bytes = out.into_bytes();
    let path = std::path::Path::new("SPACE");
    let found = Manifest::decode(&mut Decoder::new(&bytes, path, 0), path).unwrap();
    let [made] = &found.epochs[..] else { panic!("{found:?}") };
    assert_eq!((&found.histories[..], &made.items[..], &made.tables[..]), (&[4][..], &[5, 6][..], &[7][..]));
    let again = found.encode();
    assert_eq!(Manifest::decode(&mut Decoder::new(&again, path, 0), path).unwrap(), found);
}

/// An epoch in `f16` beside one of the same planes in `f64`: no sum is further off than one rounding of what it was then.
#[test]
fn copies_in_f16_are_near_those_in_f64() {
    for (seed, ttl) in [(1, 0), (2, 300), (3, 40)] {
        let mut random = Random(seed);
        let disk = filled(seed);
        let mut space = open(&disk).unwrap();
        let options =
            || BehaviorOptions::new(DIM).hashes(4, 2).seed(3).ttl_ms(ttl).embedding_version("small");
        let small = |item: u64| -> Vec<f32> {
            let mut random = Random(item);
            (0..DIM).map(|_| random.below(2_000) as f32 / 1_000.0 - 1.0).collect()
        };
        for values in [TableValues::F64, TableValues::F16] {
            let epoch = space.create_epoch(options().values(values), true).unwrap();
            let items: Vec<u64> = (0..30).collect();
            space
                .put_items_of(epoch, &items, &items.iter().flat_map(|&item| small(item)).collect::<Vec<_>>())
                .unwrap();
            space.inner.begin_build(epoch).unwrap();
            space.finish_build().unwrap();
        }
        let bytes = |epoch: u32| {
            let files = space.inner.state().files.clone();
            files.tables[&epoch].iter().map(|table| table.summary().bytes).sum::<u64>()
        };
        assert!(bytes(3) > 0 && bytes(2) > 0);
        let (mut now, mut rounded) = (600, 0);
        for step in 0..120u64 {
            let user = random.below(7);
            now += random.below(6) as i64;
            let came = (0..random.below(14))
                .map(|i| Behavior::new(user, step << 8 | 1 << 20 | i, now, random.below(30)));
            space.append(came.collect::<Vec<_>>()).unwrap();
            if random.once_in(9) {
                Call::Flush.make(&space).unwrap();
            }
            if random.once_in(9) {
                drop(space);
                space = open(&disk).unwrap();
            }
            let [exact, near] = [2, 3]
                .map(|epoch| space.at(now).epoch(epoch).unwrap().tables(&[user]).unwrap().remove(0).table);
            assert_eq!(exact.counts(), near.counts());
            for (row, &count) in exact.counts().iter().enumerate() {
                // Elements are 1 at most, and a copy is made anew when twice as many events changed as it has rows.
                let bound = f64::from(count + 2 * 16 * 2) * 2f64.powi(-11);
                for at in row * DIM..(row + 1) * DIM {
                    let off = (exact.sums()[at] - near.sums()[at]).abs();
                    assert!(off <= bound && (count > 0 || off == 0.0), "{off} of {bound}");
                    rounded += usize::from(off > 0.0);
                }
            }
        }
        assert!(rounded > 1_000, "{rounded}");
        Call::Flush.make(&space).unwrap();
        space.inner.verify().unwrap();
    }
}
