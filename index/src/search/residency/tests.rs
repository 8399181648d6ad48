//! Directories that do not say what the file of postings holds.

use std::sync::Arc;

use nearline_storage::SimDisk;

use super::*;
use crate::build::{BuildOptions, Silent, build_on};
use crate::posting::Codec;
use crate::search::{Index, OpenOptions};
use crate::vector::VectorSlice;

fn index(codec: Codec) -> Index {
    let values: Vec<f32> = (0..1_600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32).collect();
    let disk = Arc::new(SimDisk::new(1));
    let source = VectorSlice::from_f32(4, &values).unwrap();
    let (codec, list_vectors) = (Some(codec), Some(8));
    let chosen = BuildOptions { codec, list_vectors, threads: 1, ..BuildOptions::default() };
    build_on(disk.clone(), &source, &chosen, &Silent).unwrap();
    Index::open_on(disk, &OpenOptions::default()).unwrap()
}

/// Loads all lists that the index has by a directory of these places.
fn load(index: &Index, residency: Residency, places: Vec<Place>) -> Result<Held> {
    let inner = &index.inner;
    let hottest: Vec<u32> = (0..places.len() as u32).collect();
    let directory = Directory::of(places);
    let choice = fit(residency, inner.layout, &directory, &hottest, u64::MAX).unwrap();
    Held::load(choice, inner.layout, &directory, &hottest, &inner.postings)
}

/// The error that tells of this at an offset of the file of postings.
#[track_caller]
fn refused(index: &Index, residency: Residency, places: Vec<Place>, wrong: &str, at: u64) {
    match load(index, residency, places).unwrap_err() {
        IndexError::Storage(StorageError::Corrupt { file, offset, what, found, expected }) => {
            assert!(file.ends_with("postings.000001"), "{file:?}");
            assert_eq!((what, offset), (wrong, at), "{residency:?}");
            assert_ne!(found, expected, "{what}");
        }
        other => panic!("{residency:?}: {other}"),
    }
}

#[test]
fn lists_that_are_not_what_the_directory_says_are_refused() {
    for (codec, residencies) in
        [(Codec::Raw, &Residency::ALL[..1]), (Codec::Rabitq { bits: 4 }, &Residency::ALL[..])]
    {
        let index = index(codec);
        let good = index.inner.directory.places();
        assert!(good.len() > 20);
        let changed = |list: usize, change: fn(&mut Place)| {
            let mut places = good.to_vec();
            change(&mut places[list]);
            places
        };
        for &residency in residencies {
            assert_eq!(load(&index, residency, good.to_vec()).unwrap().lists, good.len());
            for list in [0, 3, good.len() - 1] {
                let at = good[list].offset;
                let refused = |change: fn(&mut Place), wrong: &str| {
                    refused(&index, residency, changed(list, change), wrong, at);
                };
                refused(|place| place.offset += 4096, "offset of a posting list");
                refused(|place| place.bytes += 4096, "bytes of a posting list");
                refused(|place| place.entries += 1, "entries of a posting list");
                refused(|place| place.entries += 1 << 16, "entries of a posting list");
                refused(|place| place.primaries -= 1, "primaries of a posting list");
                refused(|place| place.first_slot += 1, "first slot of a posting list");
            }
        }
    }
}

#[test]
fn more_or_fewer_lists_than_the_directory_says_are_refused() {
    let index = index(Codec::Rabitq { bits: 4 });
    let good = index.inner.directory.places();
    for residency in Residency::ALL {
        let last = good[good.len() - 1];
        let fewer = good[..good.len() - 1].to_vec();
        refused(&index, residency, fewer, "number of posting lists", last.offset);
        let more = [good, &[Place { offset: last.range().end(), ..last }]].concat();
        refused(&index, residency, more, "number of posting lists", last.range().end());
    }
}
