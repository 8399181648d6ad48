//! Ids that share rows, from memory and from the disk.

use nearline_index::embedding::{Adaptive, Bags, Combine, Compositional, Deduplicated, Pool};

use super::*;

fn tables() -> Vec<Box<dyn Table>> {
    let mut values = Random(41).values(900 * DIM);
    // Blocks of three rows that are there twice.
    values.copy_within(0..300 * DIM, 600 * DIM);
    let frequencies: Vec<u64> = (0..900).map(|id| 900 - id).collect();
    let input = |budget| FitInput::new(&values, DIM, Some(&frequencies), budget, 7).unwrap();
    let row = DIM as u64 * 4;
    vec![
        Box::new(Hash::fit(&input(500 * row)).unwrap()),
        Box::new(Adaptive::fit(&input(600 * row)).unwrap()),
        Box::new(Deduplicated::fit(&input(2_000 * row), 3).unwrap()),
        Box::new(Compositional::new(900, DIM, 500 * row, Combine::Multiply, 0.5, 3).unwrap()),
        Box::new(Compositional::new(900, DIM, 500 * row, Combine::Add, 0.5, 3).unwrap()),
    ]
}

#[test]
fn shared_rows_answer_from_the_disk_as_from_memory() {
    for twin in tables() {
        let disk = SimDisk::new(41);
        Inner::create(&disk, STORE, &Source::Served(&*twin)).unwrap();
        let what = twin.method();
        let disks: Arc<dyn Disk> = Arc::new(disk.clone());
        for resident in [0, 3_000, 1 << 20] {
            let limits = Limits { resident, ..LIMITS };
            let table = EmbeddingTable {
                inner: Arc::new(Inner::open(Arc::clone(&disks), limits, || Ok(None)).unwrap()),
            };
            assert_eq!(bits(&table), bits_of(&*twin), "{what:?} {resident}");
            let stats = table.stats().unwrap();
            assert_eq!((stats.method, stats.rows, stats.reads > 0), (what, 900, true));
            let mut segments = twin.bytes().segments;
            let mut found = stats.segments;
            segments.sort();
            found.sort();
            assert_eq!(found, segments);
            let version = table.pin();
            let (ids, offsets, weights) = ([899, 0, 3, 3, 450], [0, 2, 5], [0.5, 2.0, -1.0, 1.0, 0.25]);
            let mut expected = vec![0.0; 2 * DIM];
            let bags = Bags::new(&ids, &offsets, Some(&weights)).unwrap();
            twin.pool(&bags, Pool::Mean, &mut expected).unwrap();
            assert_eq!(version.pool(&ids, &offsets, Some(&weights), Pool::Mean).unwrap(), expected);
            let query = [1.0, -1.0, 0.5, 0.0, 2.0, 1.0];
            let mut products = vec![0.0; ids.len()];
            twin.dot(&query, &ids, &mut products).unwrap();
            assert_eq!(version.dot(&query, &ids).unwrap(), products);
            let error = version.lookup(&[900]).unwrap_err().to_string();
            assert_eq!(error, "ids: 900 at place 0; expected ids below 900");
            assert!(table.put(&[1], &[0.0; DIM]).is_err() && table.train(&[1], &[0.0; DIM]).is_err());
            let own: Vec<_> = version.segments().unwrap();
            for segment in twin.segments() {
                assert!(own.contains(&segment), "{what:?} {}", segment.name);
            }
            table.inner.verify().unwrap();
        }
    }
}
