//! Tables of buckets in files: read instead of behaviours, and worked out anew when they are lost.

use nearline_index::sdim::Normalize;
use nearline_storage::{Disk, SimDisk};

use super::super::manifest::{Kind, Manifest};
use super::super::{Behavior, BehaviorSpace, Candidates, Span};
use super::{DIM, Random, create, open, vector_of};

const LONG: u64 = 3_000;

/// User 1 has a long history in many files, user 2 a short one.
fn filled(seed: u64) -> SimDisk {
    let disk = create(seed, Normalize::L2);
    let space = open(&disk).unwrap();
    let items: Vec<u64> = (0..30).collect();
    let vectors: Vec<f32> = items.iter().flat_map(|&item| vector_of(item)).collect();
    space.put_items(&items, &vectors).unwrap();
    for first in (0..LONG).step_by(100) {
        space.append((first..first + 100).map(|i| Behavior::new(1, i, i as i64, i % 30))).unwrap();
        if first < 200 {
            space.append([Behavior::new(2, first, first as i64, 3)]).unwrap();
        }
    }
    space.flush().unwrap();
    disk
}

fn answers(space: &BehaviorSpace, now: i64) -> Vec<f32> {
    let asked = [vector_of(3), vector_of(4), vector_of(91)].concat();
    let reader = space.at(now);
    [1, 2].map(|user| reader.interest(user, &Candidates::Vectors(&asked)).unwrap()).concat()
}

fn names(disk: &SimDisk, kind: Kind) -> Vec<String> {
    let manifest = Manifest::read(disk).unwrap();
    manifest.numbers(kind).iter().map(|&number| kind.name(number)).collect()
}

#[test]
fn a_cold_user_costs_a_few_reads_whatever_the_length() {
    let disk = filled(1);
    let space = open(&disk).unwrap();
    // The embeddings of the few behaviours behind the table, and of candidates, are known.
    space.inner.embeddings(&(0..30).collect::<Vec<_>>()).unwrap();
    let before = disk.operations();
    let (history, files) = space.inner.history(1).unwrap();
    let table = files.table(1, &history, &space.inner.epoch).expect("it is in a file");
    assert!(history.len() - (table.end as u64) < 64, "{} of {}", table.end, history.len());
    let reads = disk.operations() - before;
    assert!(reads < 20, "{reads} reads");
    assert!(space.inner.kept_bytes()[1] < 1_000, "no history was read");
    let (history, files) = space.inner.history(2).unwrap();
    assert!(files.table(2, &history, &space.inner.epoch).is_none(), "it is as long as its behaviours");
}

#[test]
fn a_lost_table_is_worked_out_anew() {
    let mut random = Random(5);
    for round in 0..12 {
        let disk = filled(round);
        let now = LONG as i64 - 1 - random.below(80) as i64;
        let expected = answers(&open(&disk).unwrap(), now);
        let tables = names(&disk, Kind::Tables);
        assert!(!tables.is_empty());
        for name in &tables {
            let bits = disk.bytes(name).unwrap().len() as u64 * 8;
            match round % 3 {
                0 => disk.remove(name).unwrap(),
                1 => disk.flip_bit(name, random.below(bits)),
                _ => (0..40).for_each(|_| disk.flip_bit(name, random.below(bits))),
            }
        }
        let space = open(&disk).unwrap();
        assert_eq!(answers(&space, now), expected);
        assert!(space.inner.verify().is_err() || round % 3 == 1, "it is damage all the same");
        // The next files have it again, and sooner or later nothing is left of the damage.
        for first in (LONG..LONG + 1_000).step_by(200) {
            space.append((first..first + 200).map(|i| Behavior::new(1, i, i as i64, i % 30))).unwrap();
            space.flush().unwrap();
        }
        let expected = answers(&space, now);
        drop(space);
        let space = open(&disk).unwrap();
        assert_eq!(answers(&space, now), expected);
        space.inner.verify().unwrap();
    }
}

#[test]
fn appending_to_a_long_history_writes_what_came() {
    let disk = filled(2);
    let space = open(&disk).unwrap();
    let bytes = |name: &String| disk.bytes(name).unwrap().len();
    // Sooner or later files become one, but not each time.
    let mut small = 0;
    for i in LONG..LONG + 6 {
        let before = names(&disk, Kind::Histories);
        space.append([Behavior::new(1, i, i as i64, 3)]).unwrap();
        assert!(space.inner.kept_bytes()[1] < 500, "nothing but the head is read for it");
        space.flush().unwrap();
        let after = names(&disk, Kind::Histories);
        let new: Vec<&String> = after.iter().filter(|name| !before.contains(name)).collect();
        assert!(new.len() == 1 && bytes(&after[0]) > 60_000);
        small += usize::from(bytes(new[0]) < 40_000);
    }
    assert!(small >= 4, "{small}");
    let last = space.at(LONG as i64).behaviors(1, Span::Last(2)).unwrap();
    assert_eq!(last.iter().map(|one| one.event).collect::<Vec<_>>(), [LONG + 4, LONG + 5]);
}

#[test]
fn what_is_of_no_use_is_left_out_sooner_or_later() {
    let disk = filled(3);
    let space = open(&disk).unwrap();
    let bytes = || -> usize {
        Kind::ALL
            .iter()
            .flat_map(|&kind| names(&disk, kind))
            .map(|name| disk.bytes(&name).unwrap().len())
            .sum()
    };
    let full = bytes();
    space.truncate(1, 10).unwrap();
    space.flush().unwrap();
    for i in 0..6 {
        space.append([Behavior::new(3, i, LONG as i64, 3)]).unwrap();
        space.flush().unwrap();
    }
    assert!(bytes() < full / 2, "{} of {full} bytes", bytes());
    assert_eq!(space.at(0).behaviors(1, Span::Last(100)).unwrap().len(), 10);
    space.inner.verify().unwrap();
    let vector = vector_of(3);
    assert_eq!(space.at(i64::MAX).interest(1, &Candidates::Vectors(&vector)).unwrap(), [0.0; DIM]);
}

/// The files of a small space, cut off anywhere: refused with the name of the file, or what is derived is made anew.
#[test]
fn no_file_that_was_cut_off_passes_for_whole() {
    let disk = create(4, Normalize::L2);
    let space = open(&disk).unwrap();
    space.put_items(&[3], &vector_of(3)).unwrap();
    space.append((0..100).map(|i| Behavior::new(1, i, i as i64, 3))).unwrap();
    space.flush().unwrap();
    let expected = answers(&space, 100);
    drop(space);
    for name in disk.list().unwrap().into_iter().filter(|name| !name.starts_with("wal.") && name != "LOCK") {
        let whole = disk.bytes(&name).unwrap();
        for len in (0..whole.len()).step_by(whole.len() / 97 + 1) {
            disk.remove(&name).unwrap();
            let file = disk.create(&name).unwrap();
            file.write_at(0, &whole[..len]).unwrap();
            file.sync().unwrap();
            match open(&disk).and_then(|space| space.inner.verify()) {
                Ok(()) => panic!("{name}: {len} of {} bytes", whole.len()),
                Err(error) => assert!(error.to_string().contains(&name), "{name}: {error}"),
            }
            if name.starts_with("tables.") {
                assert_eq!(answers(&open(&disk).unwrap(), 100), expected);
            }
        }
        disk.remove(&name).unwrap();
        let file = disk.create(&name).unwrap();
        file.write_at(0, &whole).unwrap();
        file.sync().unwrap();
    }
    assert_eq!(answers(&open(&disk).unwrap(), 100), expected);
}
