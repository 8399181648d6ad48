//! An index taken over by somebody who keeps the vectors: its slots become rows.

use std::sync::Arc;

use nearline_index::*;
use nearline_storage::{Disk, SimDisk};

use crate::common::*;

/// The files of an index that stay, as those of another.
struct Taken {
    index: Index,
    live: Live,
    /// The row in the input of each slot.
    rows: Vec<u32>,
}

impl Taken {
    fn new(from: &SimDisk) -> Self {
        let adoption = Adoption::new(Arc::new(from.clone()), false).unwrap();
        let mut files = files(from);
        let slot_file = adoption.slot_file().unwrap();
        let kept: Vec<&str> = adoption.list_files().chain([slot_file.name.as_str()]).collect();
        files.retain(|name, _| kept.contains(&name.as_str()));
        let disk: Arc<dyn Disk> = Arc::new(sim_of(&files));
        adoption.publish(disk.as_ref()).unwrap();
        let mut rows = Vec::new();
        adoption
            .for_each_slot(|slot, row| {
                assert_eq!(slot.0 as usize, rows.len());
                rows.push(row.0);
                Ok::<_, IndexError>(())
            })
            .unwrap();
        let SlotFile { name, file_id, bytes } = slot_file;
        assert_eq!(bytes, disk.open(&name).unwrap().len().unwrap());
        let flat = Flat::open_by_slot(&disk, &name, file_id, adoption.shape(), adoption.rows()).unwrap();
        flat.verify().unwrap();
        let range = RowId(0)..=RowId(rows.len() as u32 - 1);
        let files = RowFiles::new(disk.as_ref(), vec![(range, Arc::new(flat))]).unwrap();
        let index = Index::open_on(Arc::clone(&disk), &OpenOptions::default()).unwrap();
        let live = Live { rows: Arc::new(files), delta: Arc::default(), widen: Widen::NONE };
        Self { index, live, rows }
    }

    fn search(&self, query: &[u8], options: &SearchOptions) -> Vec<(u32, f32)> {
        let filter = Filter { allows: &|_| true, share: 1.0 };
        let answer = self.index.searcher().search_live(query, options, filter, &self.live).unwrap();
        answer.hits.iter().map(|hit| (self.rows[hit.row.0 as usize], hit.distance)).collect()
    }
}

#[test]
fn the_same_vectors_are_found_by_the_same_lists() {
    for metric in METRICS {
        let (rows, queries) = Rows::generate(ElementType::F32, 3_000, 24, 20);
        let disk = build_sim(&rows, &BuildOptions { ids: Some(&Thirds(3_000)), ..options(metric) });
        let (before, taken) = (open_sim(&disk).unwrap(), Taken::new(&disk));
        let mut sorted = taken.rows.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..3_000), "each vector has a slot");
        assert_ne!(taken.rows, (0..3_000).collect::<Vec<_>>(), "slots are not rows of the input");
        let mut searcher = before.searcher();
        for query in queries.iter() {
            for probe in [Probe::Lists(3), Probe::All, Probe::TargetRecall(0.95)] {
                let options = SearchOptions { rerank: Rerank::Exact, ..ask(10, probe) };
                let expected = pairs(&searcher.search(query, &options).unwrap());
                assert_eq!(taken.search(query, &options), expected, "{metric} {probe:?}");
            }
        }
    }
}

#[test]
fn a_fold_goes_on_with_rows() {
    let (rows, queries) = Rows::generate(ElementType::F32, 2_000, 16, 10);
    let mut taken = Taken::new(&build_sim(&rows, &options(Metric::L2)));
    let to: Arc<dyn Disk> = Arc::new(SimDisk::new(0));
    let is_dead = |row: RowId| row.0.is_multiple_of(5);
    let options =
        FoldOptions { is_dead: &is_dead, identity: 5, memory_bytes: 1 << 30, is_cancelled: &|| false };
    let report = fold(&taken.index, &taken.live, &to, &options).unwrap();
    assert_eq!(report.rows, 1_600);
    let mut found = Vec::new();
    let verified = verify_outside(Arc::clone(&to), &mut |row| found.push(row), &mut |_, _| ()).unwrap();
    assert_eq!(verified.problems, []);
    found.sort_unstable();
    assert!(found.into_iter().eq((0..2_000).map(RowId).filter(|&row| !is_dead(row))));
    taken.index = Index::open_on(to, &OpenOptions::default()).unwrap();
    for query in queries.iter() {
        let options = SearchOptions { rerank: Rerank::Exact, ..ask(10, Probe::All) };
        let living = |(row, _): &(u32, f32)| {
            let slot = taken.rows.iter().position(|other| other == row).unwrap();
            !is_dead(RowId(slot as u32))
        };
        let mut expected = brute_force(Metric::L2, &rows, query, 2_000);
        expected.retain(living);
        expected.truncate(10);
        let distances = |pairs: &[(u32, f32)]| pairs.iter().map(|pair| pair.1).collect::<Vec<_>>();
        assert_eq!(distances(&taken.search(query, &options)), distances(&expected));
    }
}

#[test]
fn ids_come_in_the_order_of_the_input_and_raw_lists_have_the_vectors() {
    let (rows, _) = Rows::generate(ElementType::U8, 1_200, 8, 1);
    let disk = build_sim(&rows, &BuildOptions { ids: Some(&Thirds(1_200)), ..raw(Metric::L2) });
    let adoption = Adoption::new(Arc::new(disk.clone()), false).unwrap();
    assert_eq!(adoption.slot_file(), None);
    let ids: Vec<u64> = adoption.ids().unwrap().unwrap().map(|id| id.unwrap()).collect();
    assert!(ids.into_iter().eq((0..1_200).map(|row| row * 3)));
    let (mut input, mut vectors) = (Vec::new(), Vec::new());
    let mut keep = |_, row| {
        input.push(row);
        Ok::<_, IndexError>(())
    };
    adoption.for_each_slot(&mut keep).unwrap();
    let mut keep = |_: RowId, vector: &[u8]| {
        vectors.push(vector.to_vec());
        Ok::<_, IndexError>(())
    };
    adoption.for_each_vector(&mut keep).unwrap();
    assert_eq!(vectors.len(), 1_200);
    for (row, vector) in input.iter().zip(&vectors) {
        assert_eq!(rows.row(row.0 as usize), vector);
    }
    let plain = build_sim(&rows, &options(Metric::L2));
    assert!(Adoption::new(Arc::new(plain), false).unwrap().ids().unwrap().is_none());
}

#[test]
fn an_index_without_the_vectors_is_refused() {
    let (rows, _) = Rows::generate(ElementType::F32, 500, 16, 1);
    let codec = Some(Codec::Rabitq { bits: 4 });
    let disk = build_sim(&rows, &BuildOptions { rerank: false, codec, ..options(Metric::L2) });
    let refused = Adoption::new(Arc::new(disk), false).unwrap_err();
    assert!(refused.to_string().contains("without the vectors"), "{refused}");
    let empty = Adoption::new(Arc::new(SimDisk::new(0)), false);
    assert!(matches!(empty, Err(IndexError::NotAnIndex { .. })));
}
