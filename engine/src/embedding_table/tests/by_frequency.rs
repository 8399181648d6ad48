//! Rows by frequency, against the same table without a remap, and against damage.

use nearline_index::embedding::{
    Adaptive, BitStack, FloatCodec, FloatType, LowRankCodec, Pool, ProductCodec, Tiered,
};
use nearline_storage::{ExtentFile, ExtentFileWriter, FileHeader, StorageError, read_blob, write_blob};

use super::super::content::head_of;
use super::super::file::{KIND, TableFileWriter};
use super::super::manifest::{Manifest, file_id, file_name};
use super::*;

/// The kind of the extents of a directory.
const DIRECTORY: u16 = 3;

fn create(source: &Source<'_>) -> SimDisk {
    let disk = SimDisk::new(51);
    Inner::create(&disk, STORE, source).unwrap();
    disk
}

fn open_with(disk: &SimDisk, resident: u64) -> EmbeddingTable {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    EmbeddingTable { inner: Arc::new(Inner::open(disk, Limits { resident, ..LIMITS }, || Ok(None)).unwrap()) }
}

/// A table of any method whose rows stand alone.
fn standing_alone(random: &mut Random, rows: usize) -> Box<dyn Table> {
    let values = random.values(rows * DIM);
    let input = FitInput::new(&values, DIM, None, 1 << 20, 1).unwrap();
    match random.below(4) {
        0 => Box::new(Rows::encode(FloatCodec::new(DIM, FloatType::F16), &values).unwrap()),
        1 => Box::new(ProductCodec::fit_shape(&input, 2, 16).unwrap()),
        2 => Box::new(LowRankCodec::fit(&input).unwrap()),
        _ => Box::new(Rows::encode(RowwiseCodec::new(DIM, 4, Dialect::Fused16).unwrap(), &values).unwrap()),
    }
}

/// Different ones, so that no row keeps its place by chance.
fn frequencies() -> Vec<u64> {
    (0..ROWS as u64).map(|id| id * 677 % ROWS as u64).collect()
}

/// Ids from the most frequent on.
fn by_frequency() -> Vec<u64> {
    let (frequencies, mut ids) = (frequencies(), (0..ROWS as u64).collect::<Vec<_>>());
    ids.sort_by_key(|&id| std::cmp::Reverse(frequencies[id as usize]));
    ids
}

/// What a table answers, or why it does not.
fn answers(table: &EmbeddingTable, ids: &[u64], query: &[f32]) -> Vec<Result<Vec<f32>, String>> {
    let (version, offsets) = (table.pin(), [0, ids.len() as u64 / 2, ids.len() as u64]);
    let weights: Vec<f32> = (0..ids.len()).map(|at| at as f32 - 1.5).collect();
    let answers = [
        version.lookup(ids),
        version.pool(ids, &offsets, None, Pool::Sum),
        version.pool(ids, &offsets, Some(&weights), Pool::Mean),
        version.dot(query, ids),
    ];
    answers.map(|answer| answer.map_err(|error| error.to_string())).into()
}

fn check_same(random: &mut Random, tables: &[EmbeddingTable]) {
    let rows = tables[0].pin().rows();
    for _ in 0..4 {
        // Sometimes one is out of range, sometimes a query is too short.
        let below = rows + u64::from(random.below(6) == 0) * 3;
        let ids: Vec<u64> = (0..random.below(40)).map(|_| random.below(below)).collect();
        let is_short = random.below(6) == 0;
        let query = random.values(DIM - usize::from(is_short));
        assert_eq!(answers(&tables[0], &ids, &query), answers(&tables[1], &ids, &query));
    }
    let segments = |table: &EmbeddingTable| table.pin().segments().unwrap();
    assert_eq!(segments(&tables[0]), segments(&tables[1]), "what is exported stays in the order of ids");
    assert!(tables[0].pin().ids().eq(tables[1].pin().ids()));
    let total =
        |table: &EmbeddingTable| table.stats().unwrap().segments.iter().map(|(_, bytes)| bytes).sum::<u64>();
    assert_eq!(total(&tables[1]), total(&tables[0]) + 4 * rows);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]
    #[test]
    fn a_remap_changes_no_answer(seed in proptest::num::u64::ANY) {
        let mut random = Random(seed);
        let rows = 20 + random.below(400);
        let table = standing_alone(&mut random, rows as usize);
        // Many equal ones, but not in order.
        let mut frequencies: Vec<u64> = (0..rows).map(|_| random.below(20)).collect();
        frequencies[0] = 0;
        frequencies[1] = 20;
        let resident = [0, 4 * rows + 300, 1 << 20][random.below(3) as usize];
        let disks = [create(&Source::Served(&*table)), create(&Source::ByFrequency(&*table, &frequencies))];
        let mut tables: Vec<_> = disks.iter().map(|disk| open_with(disk, resident)).collect();
        check_same(&mut random, &tables);
        for _ in 0..8 {
            match random.below(4) {
                0 => tables.iter().for_each(|table| table.compact().unwrap()),
                1 => {
                    tables.clear();
                    tables.extend(disks.iter().map(|disk| open_with(disk, resident)));
                }
                _ => {
                    let ids: Vec<u64> = (0..1 + random.below(9)).map(|_| random.below(rows)).collect();
                    let values = random.values(ids.len() * DIM);
                    let put = |table: &EmbeddingTable| table.put(&ids, &values).unwrap();
                    assert_eq!(put(&tables[0]), put(&tables[1]));
                    let train = |table: &EmbeddingTable| table.train(&ids, &values).unwrap_err().to_string();
                    assert_eq!(train(&tables[0]), train(&tables[1]));
                }
            }
            check_same(&mut random, &tables);
        }
        tables.iter().for_each(|table| table.inner.verify().unwrap());
    }
}

#[test]
fn the_most_frequent_are_not_read_while_others_are() {
    let twin = served(52);
    let disk = create(&Source::ByFrequency(&twin, &frequencies()));
    let row_bytes = (twin.row_bytes().len() / ROWS) as u64;
    let (hot, cold) = (&by_frequency()[..300], &by_frequency()[300..]);
    let mut table = open_with(&disk, 4 * ROWS as u64 + 300 * row_bytes);
    let reads = |table: &EmbeddingTable| table.stats().unwrap().reads;
    for round in 0..3 {
        assert_eq!(table.stats().unwrap().resident_rows, 300);
        let before = reads(&table);
        let mut expected = vec![0.0; 300 * DIM];
        twin.lookup(hot, &mut expected).unwrap();
        let found = table.pin().lookup(hot).unwrap();
        assert!(round > 0 || found == expected);
        table.pin().pool(hot, &[0, 300], None, Pool::Sum).unwrap();
        table.pin().dot(&[1.0; DIM], hot).unwrap();
        assert_eq!(reads(&table), before, "round {round}");
        table.pin().lookup(&cold[..1]).unwrap();
        assert_eq!(reads(&table), before + 1, "round {round}");
        // They stay where they are, whatever is written.
        table.put(&[hot[7], cold[7]], &[0.5; 2 * DIM]).unwrap();
        table.compact().unwrap();
        if round == 1 {
            drop(table);
            table = open_with(&disk, 4 * ROWS as u64 + 300 * row_bytes);
        }
    }
    // Without a remap they are all over the file.
    let plain = open_with(&create(&Source::Served(&twin)), 300 * row_bytes);
    let before = reads(&plain);
    plain.pin().lookup(hot).unwrap();
    assert!(reads(&plain) > before);
    // The remap is in memory, whatever memory is allowed.
    drop(table);
    let table = open_with(&disk, 4 * ROWS as u64 - 1);
    assert_eq!(
        (table.stats().unwrap().resident_rows, table.pin().lookup(&cold[7..8]).unwrap().len()),
        (0, DIM)
    );
}

/// The manifest, and the directory of the live file.
fn directory(disk: &SimDisk) -> (Manifest, Vec<u8>) {
    let manifest = Manifest::read(disk).unwrap();
    let file = ExtentFile::open(disk, &manifest.file_name(), KIND).unwrap();
    let bytes = read_blob(&file, DIRECTORY, manifest.directory).unwrap();
    (manifest, bytes)
}

#[test]
fn only_files_with_a_remap_are_of_the_second_version() {
    let twin = served(53);
    let plain = create(&Source::Served(&twin));
    // As they lie: of equals the lower id comes first.
    let falling: Vec<u64> = (0..ROWS as u64).rev().map(|number| number / 7).collect();
    let sorted = create(&Source::ByFrequency(&twin, &falling));
    assert_eq!(plain.bytes("segments.000001"), sorted.bytes("segments.000001"));
    let remapped = create(&Source::ByFrequency(&twin, &frequencies()));
    let version = |disk: &SimDisk| directory(disk).1[..2].to_vec();
    assert_eq!([version(&plain), version(&remapped)], [[1, 0], [2, 0]]);
    for (disk, expected) in [(&plain, [1, 0]), (&remapped, [2, 0])] {
        let table = open(disk).unwrap();
        table.put(&[3], &[0.5; DIM]).unwrap();
        table.compact().unwrap();
        assert_eq!((directory(disk).0.number, version(disk)), (2, expected.to_vec()));
    }
}

#[test]
fn what_cannot_lie_by_frequency_is_refused() {
    let values = Random(54).values(300 * DIM);
    let frequencies: Vec<u64> = (0..300).collect();
    let input = FitInput::new(&values, DIM, Some(&frequencies), 9_000, 1).unwrap();
    let tables: [Box<dyn Table>; 4] = [
        Box::new(Hash::fit(&input).unwrap()),
        Box::new(Adaptive::fit(&input).unwrap()),
        Box::new(BitStack::fit(&input).unwrap()),
        Box::new(Tiered::fit_shape(&input, 30, 3).unwrap()),
    ];
    let refused = |table: &dyn Table, frequencies: &[u64]| {
        let source = Source::ByFrequency(table, frequencies);
        Inner::create(&SimDisk::new(54), STORE, &source).unwrap_err().to_string()
    };
    for table in tables {
        let error = refused(&*table, &frequencies);
        let expected = format!("method {:?} cannot have its rows lie by frequency; fit it", table.method());
        assert!(error.contains(&expected), "{error}");
    }
    let error = refused(&served(54), &frequencies);
    assert_eq!(error, "frequencies: 300; expected 1500, one for each row");
}

/// A file whose checksums are right, with any remap.
fn written(places: &[u32]) -> SimDisk {
    let (disk, table) = (SimDisk::new(55), served(55));
    let mut out = TableFileWriter::create(&disk, &file_name(1), file_id(STORE, 1)).unwrap();
    out.rows(table.row_bytes().len() / ROWS, table.row_bytes()).unwrap();
    out.remap(places).unwrap();
    let directory = out.finish(&head_of(&table, None)).unwrap();
    Manifest { store_id: STORE, number: 1, lsn: 0, directory }.write(&disk).unwrap();
    disk
}

#[test]
fn places_that_are_no_permutation_are_refused() {
    let good: Vec<u32> = (0..ROWS as u32).rev().collect();
    let disk = written(&good);
    let mut expected = vec![0.0; DIM];
    served(55).lookup(&[ROWS as u64 - 3], &mut expected).unwrap();
    assert_eq!(open(&disk).unwrap().pin().lookup(&[2]).unwrap(), expected);
    let changed = |at: usize, place: u32| {
        let mut places = good.clone();
        places[at] = place;
        places
    };
    for (places, what) in [
        (changed(7, 0), "place of two rows"),
        (changed(0, ROWS as u32), "place of a row"),
        (changed(9, u32::MAX), "place of a row"),
        (good[1..].to_vec(), "bytes of places of rows"),
        ([&good[..], &[ROWS as u32]].concat(), "bytes of places of rows"),
        (Vec::new(), "bytes of places of rows"),
    ] {
        let error = open(&written(&places)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(what) && text.contains("segments.000001: ") && text.contains("at offset"),
            "{text}"
        );
        assert!(
            matches!(&error, TableError::Storage(error) if matches!(**error, StorageError::Corrupt { .. }))
        );
    }
}

#[test]
fn directories_without_the_remap_they_promise_and_later_ones_are_refused() {
    for (version, expected) in [(2, "segments with places of rows"), (3, "reads version 2")] {
        let disk = create_trained(56);
        let (manifest, mut bytes) = directory(&disk);
        bytes[0] = version;
        let header = FileHeader { kind: KIND, file_id: manifest.file_id() };
        disk.remove(&manifest.file_name()).unwrap();
        let mut out = ExtentFileWriter::create(&disk, &manifest.file_name(), header).unwrap();
        let directory = write_blob(&mut out, DIRECTORY, &bytes).unwrap();
        out.sync().unwrap();
        Manifest { directory, ..manifest }.write(&disk).unwrap();
        let error = open(&disk).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// The table after some rows were put.
fn twin_after(script: &[(Vec<u64>, Vec<f32>)]) -> Vec<u32> {
    let mut twin = served(57);
    for (ids, values) in script {
        ids.iter().zip(values.chunks(DIM)).for_each(|(&id, row)| twin.put(id, row).unwrap());
    }
    bits_of(&twin)
}

#[test]
fn the_power_goes_at_every_operation_while_rows_by_frequency_are_put() {
    let script = steps(57, 120);
    let run = |table: &EmbeddingTable, from: usize| {
        from + script[from..].iter().take_while(|(ids, values)| table.put(ids, values).is_ok()).count()
    };
    let (twin, frequencies) = (served(57), frequencies());
    let create = || create(&Source::ByFrequency(&twin, &frequencies));
    let operations = {
        let disk = create();
        let before = disk.operations();
        assert_eq!(run(&open(&disk).unwrap(), 0), script.len());
        assert!(disk.list().unwrap().iter().all(|name| name != "segments.000001"), "the log was folded");
        disk.operations() - before
    };
    let last = twin_after(&script);
    for at in 1..=operations + 3 {
        let disk = create();
        disk.crash_at(disk.operations() + at);
        let acknowledged = open(&disk).map_or(0, |table| run(&table, 0));
        disk.crash(at);
        let table = open(&disk).unwrap();
        let found = table.pin().number() as usize;
        assert!(found == acknowledged || found == acknowledged + 1, "{found} after {acknowledged}, {at}");
        assert_eq!(bits(&table), twin_after(&script[..found]), "{at}");
        assert_eq!(run(&table, found), script.len());
        assert_eq!(bits(&table), last, "{at}");
        table.inner.verify().unwrap();
    }
}
