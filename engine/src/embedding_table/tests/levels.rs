//! Levels that are left off and come back; rows that come some at a time.

use nearline_index::embedding::{BitStack, RowCodec};

use super::*;

fn stack() -> BitStack {
    let values = Random(31).values(400 * DIM);
    BitStack::fit(&FitInput::new(&values, DIM, None, 30_000, 1).unwrap()).unwrap()
}

fn cut(levels: usize) -> Vec<u32> {
    let mut table = stack();
    table.truncate(levels);
    bits_of(&table)
}

#[test]
fn levels_are_left_off_and_come_back() {
    let disk = SimDisk::new(31);
    let all = stack().levels();
    assert!(all >= 4, "{all}");
    Inner::create(&disk, STORE, &Source::Served(&stack())).unwrap();
    let table = open(&disk).unwrap();
    let (before, bytes) = (table.pin(), |table: &EmbeddingTable| {
        table.stats().unwrap().segments.iter().map(|(_, bytes)| bytes).sum::<u64>()
    });
    let whole = bytes(&table);
    for (at, levels) in [2, 3, 1, all].into_iter().enumerate() {
        assert_eq!(table.resize(levels as u64).unwrap(), at as u64 + 1);
        assert_eq!(bits(&table), cut(levels), "{levels}");
        assert_eq!(bytes(&table), whole / all as u64 * levels as u64);
        drop(open_again(&disk, levels));
    }
    for levels in [0, all as u64 + 1] {
        let error = table.resize(levels).unwrap_err().to_string();
        assert!(error.contains(&format!("{levels}; expected 1 to {all}")), "{error}");
    }
    table.resize(2).unwrap();
    table.compact().unwrap();
    assert_eq!(bits(&table), cut(2));
    assert_eq!(before.lookup(&[7]).unwrap(), row(&cut(all), 7), "a pinned version stays");
    drop((table, before));
    let table = open(&disk).unwrap();
    assert_eq!(bits(&table), cut(2), "compaction keeps all levels, and how many are wanted");
    table.resize(all as u64).unwrap();
    assert_eq!(bits(&table), cut(all));
    table.inner.verify().unwrap();
    let served = open(&create_served(31)).unwrap();
    assert!(served.resize(1).unwrap_err().to_string().contains("fit it as bit-stack"));
}

fn row(bits: &[u32], id: usize) -> Vec<f32> {
    bits[id * DIM..][..DIM].iter().map(|&bits| f32::from_bits(bits)).collect()
}

/// What another process finds after a crash.
fn open_again(disk: &SimDisk, levels: usize) -> EmbeddingTable {
    let copy = SimDisk::new(1);
    for name in disk.list().unwrap().into_iter().filter(|name| name != "LOCK") {
        let file = copy.create(&name).unwrap();
        file.write_at(0, &disk.bytes(&name).unwrap()).unwrap();
        file.sync().unwrap();
    }
    copy.sync_dir().unwrap();
    let table = open(&copy).unwrap();
    assert_eq!(bits(&table), cut(levels));
    table
}

#[test]
fn rows_that_come_some_at_a_time_are_those_that_come_at_once() {
    let disk = SimDisk::new(32);
    let whole = served(32);
    let values = Random(32).values(ROWS * DIM);
    let codec: Arc<dyn RowCodec> = Arc::new(*whole.codec());
    let mut parts = values.chunks(DIM * 37);
    let mut next = |out: &mut Vec<f32>| {
        out.extend_from_slice(parts.next().unwrap_or_default());
        Ok(())
    };
    Inner::create_of_rows(&disk, STORE, &codec, &mut next).unwrap();
    let table = open(&disk).unwrap();
    assert_eq!(bits(&table), bits_of(&whole));
    let stats = table.stats().unwrap();
    assert!(stats.reads > 0 && stats.read_bytes >= stats.reads * 4096, "{stats:?}");
    let mut odd = |out: &mut Vec<f32>| {
        out.push(1.0);
        Ok(())
    };
    assert!(Inner::create_of_rows(&SimDisk::new(33), STORE, &codec, &mut odd).is_err());
}
