//! Rows that are runs of values, from memory and from the disk.

use std::collections::BTreeSet;

use nearline_index::embedding::{
    Bags, Cyclic, Masked, Mixed, Pool, Robe, RobeRules, Segments, Sparse, Tiered, is_values, open_runs,
};

use super::super::content::{Content, head_of};
use super::super::file::TableFileWriter;
use super::super::manifest::{Manifest, file_id, file_name};
use super::*;

const COUNT: u64 = 2_000;
/// Bytes of an extent that are values.
const EXTENT: usize = 4_096 - 64;

/// Chunks that do not divide a row and go on at the beginning of the array.
pub(super) fn robe() -> Robe {
    let rules = RobeRules { chunk: 4, is_wrapping: true, is_signed: true };
    Robe::new(COUNT, DIM, 30_000, rules, 0.5, 3).unwrap()
}

fn tables() -> Vec<Box<dyn Table>> {
    let values = Random(61).values(COUNT as usize * DIM);
    let falling: Vec<u64> = (0..COUNT).rev().collect();
    let mixed: Vec<u64> = (0..COUNT).map(|id| id * 677 % COUNT).collect();
    let input = |frequencies, budget| FitInput::new(&values, DIM, Some(frequencies), budget, 7).unwrap();
    let (rich, fields) = (1 << 20, [1, 999, 1_000]);
    let widths = Mixed::fit_widths(&input(&falling, rich), &fields, &[DIM, 4, 1]).unwrap();
    let kept = Masked::import(&input(&falling, rich), &fields, &[DIM, 3, 5], &[0.0, 2.5, 1.0]).unwrap();
    vec![
        Box::new(robe()),
        Box::new(Cyclic::new(COUNT, DIM, 20_003, 0.5, 3).unwrap()),
        // Rounds shorter than a row.
        Box::new(Cyclic::new(COUNT, DIM, 20, 0.5, 3).unwrap()),
        Box::new(widths.clone()),
        Box::new(widths.with_bias()),
        Box::new(kept),
        Box::new(Masked::fit(&input(&mixed, 40_000)).unwrap()),
        Box::new(Sparse::fit(&input(&falling, 16_000)).unwrap()),
        Box::new(Sparse::prune(&vec![0.0; COUNT as usize * DIM], DIM, 9).unwrap()),
        Box::new(Tiered::fit_shape(&input(&falling, rich), 200, 6).unwrap()),
        Box::new(Tiered::fit_shape(&input(&mixed, rich), 200, 3).unwrap()),
    ]
}

fn create(table: &dyn Table) -> SimDisk {
    let disk = SimDisk::new(61);
    Inner::create(&disk, STORE, &Source::Served(table)).unwrap();
    disk
}

fn open_with(disk: &SimDisk, resident: u64) -> EmbeddingTable {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    EmbeddingTable { inner: Arc::new(Inner::open(disk, Limits { resident, ..LIMITS }, || Ok(None)).unwrap()) }
}

/// Bytes of values, and of what is beside them.
fn sizes(table: &dyn Table) -> (u64, u64) {
    let sum = |is_wanted: &dyn Fn(&str) -> bool| -> u64 {
        table.bytes().segments.iter().filter(|(name, _)| is_wanted(name)).map(|(_, bytes)| bytes).sum()
    };
    let method = table.method();
    (sum(&|name| is_values(method, name)), sum(&|name| !is_values(method, name)))
}

/// Bytes of values in memory; nothing if the table is there whole.
fn hot_bytes(table: &EmbeddingTable) -> Option<u64> {
    match &table.inner.version().content {
        Content::Runs(runs) => Some(runs.hot.len() as u64),
        Content::Fixed(_) => None,
        _ => panic!("neither"),
    }
}

/// The extents that some ids need, of those that are not in memory.
fn extents(table: &dyn Table, ids: &[u64], hot: u64) -> usize {
    let segments = table.segments();
    let width = segments.iter().find(|one| is_values(table.method(), &one.name)).unwrap().dtype.bytes();
    let (values, (bytes, _)) = (EXTENT / width, sizes(table));
    let (rows, params) = (table.rows(), table.params());
    let count = bytes / width as u64;
    let layout = open_runs(table.method(), rows, DIM, &params, Segments(&segments), count).unwrap();
    let mut runs = Vec::new();
    ids.iter().for_each(|&id| layout.runs(id, &mut runs));
    let places = runs.iter().flat_map(|run| run.first..run.first + u64::from(run.len));
    let cold = places.filter(|place| place * width as u64 >= hot);
    cold.map(|place| place / values as u64).collect::<BTreeSet<_>>().len()
}

fn check_answers(table: &EmbeddingTable, twin: &dyn Table) {
    assert_eq!(bits(table), bits_of(twin));
    let version = table.pin();
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let (ids, offsets, weights) =
        ([COUNT - 1, 0, 3, 3, 450, 1_000], [0, 2, 2, 6], [0.5, 2.0, -1.0, 1.0, 0.25, 3.0]);
    for weights in [None, Some(&weights[..])] {
        for pool in [Pool::Sum, Pool::Mean] {
            let mut expected = vec![0.0; 3 * DIM];
            twin.pool(&Bags::new(&ids, &offsets, weights).unwrap(), pool, &mut expected).unwrap();
            assert_eq!(bits(&version.pool(&ids, &offsets, weights, pool).unwrap()), bits(&expected));
        }
    }
    let query = [1.0, -1.0, 0.5, 0.25, 2.0, 1.0];
    let mut products = vec![0.0; ids.len()];
    twin.dot(&query, &ids, &mut products).unwrap();
    assert_eq!(bits(&version.dot(&query, &ids).unwrap()), bits(&products));
    assert!(version.lookup(&[]).unwrap().is_empty());
    let error = version.lookup(&[0, COUNT]).unwrap_err().to_string();
    assert_eq!(error, format!("ids: {COUNT} at place 1; expected ids below {COUNT}"));
    assert!(version.dot(&query[1..], &ids).is_err());
}

fn check_stats(table: &EmbeddingTable, twin: &dyn Table) {
    let stats = table.stats().unwrap();
    assert_eq!((stats.method, stats.params, stats.rows), (twin.method(), twin.params(), COUNT));
    let (mut found, mut expected) = (stats.segments, twin.bytes().segments);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let own = table.pin().segments().unwrap();
    assert_eq!(own.len(), twin.segments().len());
    for segment in twin.segments() {
        assert!(own.contains(&segment), "{}", segment.name);
    }
    let error = table.put(&[1], &[0.0; DIM]).unwrap_err().to_string();
    assert!(error.contains(&format!("{:?} cannot put rows", twin.method())), "{error}");
    assert!(table.train(&[1], &[0.0; DIM]).is_err() && table.expire().is_err() && table.resize(1).is_err());
    table.compact().unwrap();
    table.inner.verify().unwrap();
}

#[test]
fn runs_of_values_answer_from_the_disk_as_from_memory() {
    for twin in tables() {
        let (disk, (values, beside)) = (create(&*twin), sizes(&*twin));
        for resident in
            [0, beside + values / 2, (beside + values).saturating_sub(1), beside + values, 1 << 24]
        {
            let table = open_with(&disk, resident);
            let is_whole = values == 0 || resident >= beside + values;
            match hot_bytes(&table) {
                None => assert!(is_whole),
                // As many extents as there is room for.
                Some(hot) => {
                    let room = resident.saturating_sub(beside).min(values);
                    assert!(!is_whole && hot <= room && hot + EXTENT as u64 > room, "{hot} of {room}");
                    let rows = table.stats().unwrap().resident_rows;
                    assert_eq!(rows, COUNT * hot / values, "{:?}", twin.method());
                }
            }
            check_answers(&table, &*twin);
            check_stats(&table, &*twin);
        }
    }
}

#[test]
fn an_extent_is_read_once_a_call_however_much_of_it_is_wanted() {
    let mut random = Random(62);
    for twin in tables() {
        let (disk, (values, beside)) = (create(&*twin), sizes(&*twin));
        for resident in [0, beside + values / 2] {
            let table = open_with(&disk, resident);
            let Some(hot) = hot_bytes(&table) else { continue };
            for count in [1, 2, 5, 40, 400] {
                let ids: Vec<u64> = (0..count).map(|_| random.below(COUNT)).collect();
                let before = table.stats().unwrap().reads;
                table.pin().pool(&ids, &[0, count], None, Pool::Sum).unwrap();
                let reads = (table.stats().unwrap().reads - before) as usize;
                assert_eq!(reads, extents(&*twin, &ids, hot), "{:?} {count}", twin.method());
            }
        }
    }
}

/// A file of these segments, as tables were written before their values lay by the page.
fn create_as_before(table: &dyn Table) -> SimDisk {
    let disk = SimDisk::new(63);
    let mut out = TableFileWriter::create(&disk, &file_name(1), file_id(STORE, 1)).unwrap();
    table.segments().iter().for_each(|segment| out.segment(segment).unwrap());
    let directory = out.finish(&head_of(table, None)).unwrap();
    Manifest { store_id: STORE, number: 1, lsn: 0, directory }.write(&disk).unwrap();
    disk
}

#[test]
fn files_whose_values_are_segments_are_in_memory_whole() {
    for twin in tables() {
        let table = open_with(&create_as_before(&*twin), 0);
        assert_eq!((hot_bytes(&table), table.stats().unwrap().resident_rows), (None, COUNT));
        check_answers(&table, &*twin);
        check_stats(&table, &*twin);
    }
}

#[test]
fn a_table_written_anew_is_the_same_file() {
    for twin in tables() {
        let disk = create(&*twin);
        let expected = disk.bytes(&file_name(1)).unwrap();
        for resident in [0, 9_000, 1 << 24] {
            let other = SimDisk::new(64);
            let out = TableFileWriter::create(&other, &file_name(1), file_id(STORE, 1)).unwrap();
            open_with(&disk, resident).inner.version().content.write(out).unwrap();
            assert!(other.bytes(&file_name(1)).unwrap() == expected, "{:?} {resident}", twin.method());
        }
        // From the former layout to this one.
        let other = SimDisk::new(64);
        let out = TableFileWriter::create(&other, &file_name(1), file_id(STORE, 1)).unwrap();
        open_with(&create_as_before(&*twin), 0).inner.version().content.write(out).unwrap();
        assert!(other.bytes(&file_name(1)).unwrap() == expected, "{:?}", twin.method());
    }
}

#[test]
fn a_damaged_extent_is_an_error_when_it_is_asked_for() {
    for twin in [&robe() as &dyn Table, &*tables()[9]] {
        let (disk, name) = (create(twin), file_name(1));
        let table = open_with(&disk, 0);
        // The first extent lies behind the page of the header.
        disk.flip_bit(&name, (4_096 + 200) * 8);
        let ids: Vec<u64> = (0..COUNT).collect();
        let error = table.pin().lookup(&ids).unwrap_err().to_string();
        assert!(error.contains("segments.000001: wrong extent checksum at offset 4120"), "{error}");
        assert!(table.inner.verify().is_err());
        let spared = ids.iter().find(|&&id| extents(twin, &[id], EXTENT as u64) == extents(twin, &[id], 0));
        assert_eq!(table.pin().lookup(&[*spared.unwrap()]).unwrap().len(), DIM);
        disk.flip_bit(&name, (4_096 + 200) * 8);
        assert_eq!(bits(&table), bits_of(twin));
    }
}

/// A file whose checksums are right, with other values than the table's.
fn written(table: &dyn Table, row_bytes: usize, values: &[u8]) -> Result<EmbeddingTable, TableError> {
    let disk = SimDisk::new(65);
    let mut out = TableFileWriter::create(&disk, &file_name(1), file_id(STORE, 1)).unwrap();
    out.rows(row_bytes, values).unwrap();
    for segment in table.segments().iter().filter(|one| !is_values(table.method(), &one.name)) {
        out.segment(segment).unwrap();
    }
    let directory = out.finish(&head_of(table, None)).unwrap();
    Manifest { store_id: STORE, number: 1, lsn: 0, directory }.write(&disk).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let open = |resident| Inner::open(Arc::clone(&disk), Limits { resident, ..LIMITS }, || Ok(None));
    // In memory or not, it is refused alike.
    let (whole, served) = (open(1 << 24).map(drop), open(0));
    assert_eq!(whole.is_err(), served.is_err());
    Ok(EmbeddingTable { inner: Arc::new(served?) })
}

#[test]
fn runs_that_would_lead_outside_are_refused_when_the_table_is_opened() {
    for twin in tables() {
        let segments = twin.segments();
        let own = segments.iter().filter(|one| is_values(twin.method(), &one.name));
        let width = own.clone().next().unwrap().dtype.bytes();
        let values: Vec<u8> = own.flat_map(|one| one.bytes.to_vec()).collect();
        let table = written(&*twin, width, &values).unwrap();
        assert_eq!(bits(&table), bits_of(&*twin));
        let is_array = segments.iter().any(|one| one.name == "array");
        if values.is_empty() || is_array {
            continue;
        }
        let error = written(&*twin, width, &values[width..]).unwrap_err().to_string();
        assert!(error.contains("expected"), "{error}");
        let error = written(&*twin, 3 * width, &[&values[..], &values[..], &values[..]].concat());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("bytes of a value"), "{error}");
    }
}

#[test]
fn the_power_goes_at_every_operation_while_a_table_is_made() {
    for twin in [&robe() as &dyn Table, &*tables()[10]] {
        let operations = create(twin).operations();
        let mut opened = 0;
        for at in 1..=operations + 2 {
            let disk = SimDisk::new(at);
            disk.crash_at(at);
            let is_made = Inner::create(&disk, STORE, &Source::Served(twin)).is_ok();
            disk.crash(at);
            match Inner::open(Arc::new(disk.clone()), LIMITS, || Ok(None)) {
                Ok(inner) => {
                    let table = EmbeddingTable { inner: Arc::new(inner) };
                    assert_eq!(bits(&table), bits_of(twin), "{at}");
                    table.inner.verify().unwrap();
                    opened += 1;
                }
                Err(error) => assert!(!is_made, "{at}: {error}"),
            }
        }
        assert!(opened > 0, "one was made");
    }
}
