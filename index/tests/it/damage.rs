//! Damaged bytes and failing reads: always an error that says where, never a panic, never a wrong answer.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use nearline_index::*;
use nearline_storage::{
    Checksum, Disk, Extent, ExtentFile, ExtentKey, Fault, Faults, IoMode, SimDisk, StorageError,
    encode_extent,
};

use crate::common::*;

const COUNT: usize = 120;

/// Vectors and a query.
static SET: LazyLock<(Rows, Rows)> = LazyLock::new(|| Rows::generate(ElementType::U8, COUNT, 9, 1));

const CODED: Codec = Codec::Rabitq { bits: 3 };

fn small() -> SimDisk {
    build_sim(&SET.0, &small_options(Some(CODED)))
}

/// As [`small`], with lists of raw vectors.
fn small_raw() -> SimDisk {
    build_sim(&SET.0, &small_options(Some(Codec::Raw)))
}

fn small_options(codec: Option<Codec>) -> BuildOptions<'static> {
    let (list_vectors, replicas) = (Some(40), Some(2));
    BuildOptions { codec, ids: Some(&Thirds(COUNT as u64)), list_vectors, replicas, ..options(Metric::L2) }
}

/// Opens the folder and asks for everything: all rows, all lists, all ids.
fn open_and_search(disk: &SimDisk) -> Result<Vec<Hit>> {
    let mut searcher = open_sim(disk)?.searcher();
    searcher.search(SET.1.row(0), &ask(COUNT, Probe::Lists(usize::MAX)))?;
    Ok(searcher.search(SET.1.row(0), &ask(COUNT, Probe::All))?.hits)
}

/// The folder is damaged in `name`: an error in one line that names a file of it.
fn noticed(disk: &SimDisk, what: &str) {
    match open_and_search(disk) {
        Ok(_) => panic!("{what}: not noticed"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains("/sim") && !message.contains('\n'), "{what}: {message}");
        }
    }
}

#[test]
fn a_flipped_bit_of_any_byte_is_noticed() {
    [small(), small_raw()].iter().for_each(check_flips);
}

fn check_flips(disk: &SimDisk) {
    let before = open_and_search(disk).unwrap();
    for (name, bytes) in files(disk) {
        for byte in 0..bytes.len() {
            let bit = byte as u64 * 8 + (byte as u64).wrapping_mul(0x9E37_79B9) % 8;
            disk.flip_bit(&name, bit);
            noticed(disk, &format!("{name}, bit {bit}"));
            disk.flip_bit(&name, bit);
        }
    }
    assert_eq!(open_and_search(disk).unwrap(), before);
}

#[test]
fn verify_reports_a_flipped_bit_of_any_byte() {
    [small(), small_raw()].iter().for_each(check_verified_flips);
}

fn check_verified_flips(disk: &SimDisk) {
    let dir = folder();
    let files = files(disk);
    files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    let check = || verify(dir.path(), IoMode::Pread, &mut |_, _| {});
    assert_eq!(check().unwrap().problems, []);
    for (name, bytes) in &files {
        let file = std::fs::File::options().write(true).open(dir.path().join(name)).unwrap();
        for (byte, &good) in bytes.iter().enumerate() {
            file.write_all_at(&[good ^ (1 << (byte / 3 % 8))], byte as u64).unwrap();
            match check() {
                Ok(report) => {
                    let problem =
                        report.problems.first().unwrap_or_else(|| panic!("{name}, byte {byte}: sound"));
                    assert_eq!(&problem.file, name, "{problem:?}");
                    assert!(!problem.message.contains('\n'));
                }
                Err(error) => assert!(name == "MANIFEST", "{name}, byte {byte}: {error}"),
            }
            file.write_all_at(&[good], byte as u64).unwrap();
        }
    }
    assert_eq!(check().unwrap().problems, []);
}

#[test]
fn a_file_of_another_length_is_noticed() {
    let disk = small();
    for (name, bytes) in files(&disk) {
        let len = bytes.len() as u64;
        let pages = (0..=len + 8192).step_by(4096);
        let odd = [1, 63, 4095, 4097, len - 1, len + 1, len / 2 + 13];
        for cut in pages.chain(odd).filter(|&cut| cut != len) {
            let file = disk.open_rw(&name).unwrap();
            file.set_len(cut).unwrap();
            noticed(&disk, &format!("{name} of {cut} bytes, not {len}"));
            file.set_len(len).unwrap();
            file.write_at(0, &bytes).unwrap();
        }
    }
    open_and_search(&disk).unwrap();
}

#[test]
fn verify_reports_a_file_of_another_length_and_one_that_is_gone() {
    let files = files(&small());
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "MANIFEST") {
        for cut in [None, Some(0), Some(100), Some(4096), Some(bytes.len() - 1), Some(bytes.len() + 4096)] {
            let dir = folder();
            files.iter().for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
            let path = dir.path().join(name);
            match cut {
                Some(cut) => {
                    let file = std::fs::File::options().write(true).open(&path).unwrap();
                    file.set_len(cut as u64).unwrap();
                }
                None => std::fs::remove_file(&path).unwrap(),
            }
            let report = verify(dir.path(), IoMode::Pread, &mut |_, _| {}).unwrap();
            let named = report.problems.iter().any(|problem| problem.file == *name);
            assert!(named, "{name} cut to {cut:?}: {:?}", report.problems);
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in files(&small()).into_keys() {
        let disk = small();
        disk.remove(&name).unwrap();
        noticed(&disk, &name);
        let message = open_and_search(&disk).unwrap_err().to_string();
        assert!(message.contains(&name), "{name}: {message}");
    }
}

#[test]
fn a_file_of_another_index_is_not_taken_for_ours() {
    let ours = files(&small());
    let other = BuildOptions { seed: 3, ..small_options(Some(CODED)) };
    let theirs = files(&build_sim(&SET.0, &other));
    for name in ours.keys() {
        let mut mixed = ours.clone();
        mixed.insert(name.clone(), theirs[name].clone());
        noticed(&sim_of(&mixed), name);
    }
    // Nor one of our own files for another.
    for (name, instead) in ours.keys().zip(ours.keys().skip(1)) {
        let mut mixed = ours.clone();
        mixed.insert(name.clone(), ours[instead].clone());
        noticed(&sim_of(&mixed), name);
    }
}

/// The same files with another directory, whose checksum is right; `change` gets the list's 24 bytes.
fn with_place(files: &BTreeMap<String, Vec<u8>>, list: usize, change: &dyn Fn(&mut [u8])) -> SimDisk {
    let disk = sim_of(files);
    let file = ExtentFile::open(&disk, "directory.000001", *b"DIRE").unwrap();
    let key = ExtentKey { file_id: file.file_id(), offset: 4096 };
    let bytes = &files["directory.000001"][4096..];
    let extent = Extent::decode(bytes, key, file.file().path()).unwrap();
    let mut places = extent.plane(0).to_vec();
    change(&mut places[list * 24..][..24]);
    let mut changed = Vec::new();
    encode_extent(&extent.header, &[&places], key, &mut changed);
    disk.open_rw("directory.000001").unwrap().write_at(4096, &changed).unwrap();
    disk
}

#[test]
fn a_directory_that_does_not_fit_the_lists_is_noticed_when_they_are_held() {
    let add = |at: usize, n: u8| move |place: &mut [u8]| place[at] = place[at].wrapping_add(n);
    for (disk, residencies) in [(small(), &Residency::ALL[..]), (small_raw(), &Residency::ALL[..1])] {
        let files = files(&disk);
        for &residency in residencies {
            let open = |disk: &SimDisk, pin| open_with(disk, &OpenOptions { pin, ..OpenOptions::default() });
            let pin = Pin::Residency(residency);
            open(&with_place(&files, 1, &|_| {}), pin).unwrap();
            // Entries, a few or very many: more than the list has, or fewer.
            for (at, n) in [(12, 1), (12, 255), (13, 1)] {
                let changed = with_place(&files, 1, &add(at, n));
                let error = open(&changed, pin).unwrap_err();
                let IndexError::Storage(StorageError::Corrupt { file, offset, what, .. }) = &error else {
                    panic!("{residency:?}: {error}")
                };
                assert!(file.ends_with("postings.000001"), "{error}");
                assert!(*offset >= 4096 && *what == "entries of a posting list", "{error}");
            }
        }
    }
}

#[test]
fn verify_reports_a_directory_that_does_not_fit_the_lists() {
    let files = files(&small());
    let disk = with_place(&files, 1, &|place| place[12] += 1);
    let dir = folder();
    crate::common::files(&disk)
        .iter()
        .for_each(|(name, bytes)| std::fs::write(dir.path().join(name), bytes).unwrap());
    let report = verify(dir.path(), IoMode::Pread, &mut |_, _| {}).unwrap();
    let [problem] = &report.problems[..] else { panic!("{:?}", report.problems) };
    assert_eq!(problem.file, "postings.000001");
    assert!(problem.message.contains("entries of a posting list"), "{problem:?}");
}

#[test]
fn an_index_of_a_newer_format_is_told_from_a_damaged_one() {
    let ours = files(&small());
    for name in ours.keys() {
        let mut newer = ours.clone();
        let page = newer.get_mut(name).unwrap();
        // The major version, and the checksum made right again.
        page[20] = 3;
        let crc = Checksum::of(&page[..40]).update(&page[44..4096]).value();
        page[40..44].copy_from_slice(&crc.to_le_bytes());
        let error = open_and_search(&sim_of(&newer)).unwrap_err();
        let found =
            matches!(error, IndexError::Storage(StorageError::Version { found: 3, supported: 2, .. }));
        assert!(found && error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn a_failing_read_is_an_error_with_its_place_and_the_searcher_goes_on() {
    for (codec, probe) in [
        (Some(Codec::Raw), Probe::All),
        (None, Probe::All),
        (None, Probe::Lists(usize::MAX)),
        (Some(Codec::Rabitq { bits: 1 }), Probe::Lists(9)),
    ] {
        let (rows, queries) = Rows::generate(ElementType::F32, 600, 8, 1);
        let chosen = BuildOptions { codec, list_vectors: Some(20), ..options(Metric::L2) };
        let disk = build_sim(&rows, &chosen);
        check_failing_reads(&disk, queries.row(0), &ask(10, probe));
    }
}

/// Fails each operation of a search in turn.
fn check_failing_reads(disk: &SimDisk, query: &[u8], asked: &SearchOptions) {
    let mut searcher = open_sim(disk).unwrap().searcher();
    let start = disk.operations();
    let right = searcher.search(query, asked).unwrap().hits;
    let operations = disk.operations() - start;
    assert!(operations >= 5, "{operations} operations");
    for fault in [Fault::Io, Fault::ShortRead, Fault::FlipBit] {
        for at in 1..=operations {
            disk.set_faults(Faults { at: vec![(disk.operations() + at, fault)], ..Faults::default() });
            let message = match searcher.search(query, asked) {
                Ok(answer) => panic!("{fault:?} at {at}: not noticed, {answer:?}"),
                Err(error) => error.to_string(),
            };
            let named = ["/sim/postings.000001: ", "/sim/rows.000001: "];
            assert!(named.iter().any(|name| message.starts_with(name)), "{message}");
            // The simulated disk's own errors know no offset.
            assert!(fault == Fault::Io || message.contains("offset"), "{message}");
            disk.set_faults(Faults::default());
            assert_eq!(searcher.search(query, asked).unwrap().hits, right, "after {fault:?} at {at}");
        }
    }
}

#[test]
fn a_failure_anywhere_while_opening_is_an_error() {
    let disk = small();
    let start = disk.operations();
    drop(open_sim(&disk).unwrap());
    let operations = disk.operations() - start;
    for fault in [Fault::Io, Fault::ShortRead, Fault::FlipBit] {
        for at in 1..=operations {
            disk.set_faults(Faults { at: vec![(disk.operations() + at, fault)], ..Faults::default() });
            match open_sim(&disk) {
                // A fault that does not fit the operation may pass: a bit cannot be flipped in a name.
                Ok(_) => assert_eq!(fault, Fault::FlipBit, "at {at}"),
                Err(error) => assert!(error.to_string().contains("/sim"), "{error}"),
            }
            disk.set_faults(Faults::default());
        }
    }
    open_and_search(&disk).unwrap();
}

#[test]
fn a_folder_of_garbage_is_no_index() {
    for bytes in [&b""[..], b"x", &[0; 4096], &[0xFF; 8192], b"NEARLINE"] {
        let garbage: BTreeMap<String, Vec<u8>> = [("MANIFEST".to_owned(), bytes.to_vec())].into();
        noticed(&sim_of(&garbage), "garbage");
    }
    let empty = open_sim(&SimDisk::new(1)).unwrap_err();
    assert_eq!(empty.to_string(), "/sim: not an index: no file MANIFEST");
    let dir = folder();
    let options = OpenOptions::default();
    let none = Index::open(&dir.path().join("none"), &options).unwrap_err().to_string();
    assert!(none.ends_with("none: not an index: no such folder"), "{none}");
    std::fs::write(dir.path().join("file"), b"x").unwrap();
    let file = Index::open(&dir.path().join("file"), &options).unwrap_err().to_string();
    assert!(file.ends_with("file: not an index: a file, not a folder"), "{file}");
    // Looking leaves no trace.
    assert!(Index::open(dir.path(), &options).is_err());
    assert_eq!(files_in(dir.path()).len(), 1);
}
