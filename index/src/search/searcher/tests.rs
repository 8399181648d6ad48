//! Counters against the places of the lists that were probed.

use std::sync::Arc;

use nearline_storage::SimDisk;

use super::SearchOptions;
use crate::build::{BuildOptions, Silent, build_on};
use crate::calibration::CALIBRATED_TARGETS;
use crate::posting::Codec;
use crate::search::{Index, OpenOptions, Probe, Rerank};
use crate::vector::VectorSlice;

#[test]
fn a_cost_is_the_sum_over_the_lists_probed() {
    let values: Vec<f32> =
        (0..6_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65_536.0).collect();
    for (codec, rerank) in [(Codec::Raw, true), (Codec::Rabitq { bits: 4 }, false)] {
        let disk = Arc::new(SimDisk::new(1));
        let source = VectorSlice::from_f32(4, &values).unwrap();
        let (codec, list_vectors) = (Some(codec), Some(8));
        let chosen = BuildOptions { codec, rerank, list_vectors, threads: 2, ..BuildOptions::default() };
        build_on(disk.clone(), &source, &chosen, &Silent).unwrap();
        check(&Index::open_on(disk, &OpenOptions::default()).unwrap(), &values);
    }
}

fn check(index: &Index, values: &[f32]) {
    let mut searcher = index.searcher().unwrap();
    let targets = CALIBRATED_TARGETS.map(Probe::TargetRecall);
    for probe in [Probe::Lists(1), Probe::Lists(13), Probe::All].into_iter().chain(targets) {
        for query in bytemuck::cast_slice::<f32, u8>(values).chunks_exact(16).step_by(100) {
            let asked = SearchOptions { k: 10, probe, rerank: Rerank::Never, ..SearchOptions::default() };
            let cost = searcher.search(query, &asked).unwrap().cost;
            let probes = &searcher.jobs[0].probes[..cost.lists as usize];
            let places: Vec<_> = probes.iter().map(|probe| index.inner.directory.place(probe.at)).collect();
            assert_eq!((cost.lists, cost.reads), (places.len() as u64, places.len() as u64));
            assert_eq!(cost.bytes, places.iter().map(|place| u64::from(place.bytes)).sum::<u64>());
            assert_eq!(cost.entries, places.iter().map(|place| u64::from(place.entries)).sum::<u64>());
            assert!(probes.windows(2).all(|two| two[0] < two[1]), "nearest first, each once");
        }
    }
}
