//! Rows from memory, from the disk and from the log, and what is refused.

use nearline_index::embedding::{
    Bags, BitStack, Combine, Compositional, Cyclic, Pool, ProductCodec, Sparse, Tiered,
};

use super::*;

#[test]
fn rows_are_the_same_wherever_they_lie() {
    let disk = create_served(1);
    let (table, twin) = (open(&disk).unwrap(), served(1));
    let stats = table.stats().unwrap();
    assert!(stats.resident_rows > 0 && stats.resident_rows < stats.rows, "{stats:?}");
    assert_eq!(bits(&table), bits_of(&twin));
    let (ids, weights) = ([7, 1499, 3, 1499, 800, 0], [1.0, 0.5, -2.0, 1.0, 3.0, 0.25]);
    let offsets = [0, 2, 2, 6];
    let mut expected = vec![0.0; 3 * DIM];
    let bags = Bags::new(&ids, &offsets, Some(&weights)).unwrap();
    twin.pool(&bags, Pool::Mean, &mut expected).unwrap();
    let version = table.pin();
    assert_eq!(version.pool(&ids, &offsets, Some(&weights), Pool::Mean).unwrap(), expected);
    let query = [1.0, -1.0, 0.5, 0.0, 2.0, 1.0];
    let mut products = vec![0.0; ids.len()];
    twin.dot(&query, &ids, &mut products).unwrap();
    assert_eq!(version.dot(&query, &ids).unwrap(), products);
}

#[test]
fn a_pinned_version_stays_and_the_next_one_has_what_was_written() {
    let disk = create_served(2);
    let (table, mut twin) = (open(&disk).unwrap(), served(2));
    let (before, old) = (table.pin(), bits_of(&twin));
    let mut random = Random(5);
    for round in 0..40 {
        let ids: Vec<u64> = (0..9).map(|_| random.below(ROWS as u64)).collect();
        let values = random.values(9 * DIM);
        let number = table.put(&ids, &values).unwrap();
        ids.iter().zip(values.chunks(DIM)).for_each(|(&id, row)| twin.put(id, row).unwrap());
        assert_eq!(table.pin().number(), number);
        if round == 20 {
            table.compact().unwrap();
            assert_eq!(table.stats().unwrap().changed_rows, 0);
        }
    }
    assert_eq!(bits(&table), bits_of(&twin));
    let ids: Vec<u64> = (0..ROWS as u64).collect();
    let still: Vec<u32> = before.lookup(&ids).unwrap().iter().map(|x| x.to_bits()).collect();
    assert_eq!(still, old);
    drop((table, before));
    let table = open(&disk).unwrap();
    assert_eq!(bits(&table), bits_of(&twin));
    table.inner.verify().unwrap();
}

#[test]
fn training_goes_on_after_reopening_bit_for_bit() {
    let (disk, all) = (create_trained(3), steps(3, 120));
    for part in all.chunks(40) {
        let table = open(&disk).unwrap();
        for (ids, gradients) in part {
            table.train(ids, gradients).unwrap();
        }
    }
    let table = open(&disk).unwrap();
    assert_eq!(bits(&table), twin_of(3, &all));
    let stats = table.stats().unwrap();
    assert_eq!(stats.version, 120);
    assert!(stats.log_bytes < 3 * LIMITS.log, "the log was folded: {stats:?}");
}

#[test]
fn tables_of_all_kinds_come_back() {
    let values = Random(9).values(300 * DIM);
    let frequencies: Vec<u64> = (0..300).map(|i| i * 7 % 100).collect();
    let input = FitInput::new(&values, DIM, Some(&frequencies), 1 << 20, 1).unwrap();
    let small = FitInput::new(&values, DIM, None, 4_000, 1).unwrap();
    let quotients = Compositional::new(300, DIM, 2_000, Combine::Multiply, 0.1, 1).unwrap();
    let tables: [Box<dyn Table>; 6] = [
        Box::new(ProductCodec::fit_shape(&input, 2, 16).unwrap()),
        Box::new(Tiered::fit_shape(&input, 30, 3).unwrap()),
        Box::new(BitStack::fit(&small).unwrap()),
        Box::new(Sparse::fit(&small).unwrap()),
        Box::new(Cyclic::fit(&small).unwrap()),
        Box::new(quotients),
    ];
    for table in tables {
        let disk = SimDisk::new(1);
        Inner::create(&disk, STORE, &Source::Served(&*table)).unwrap();
        let opened = open(&disk).unwrap();
        assert_eq!(bits(&opened), bits_of(&*table), "{:?}", table.method());
        assert_eq!(
            opened.stats().unwrap().segments.iter().map(|one| one.1).sum::<u64>(),
            table.bytes().total()
        );
        opened.inner.verify().unwrap();
    }
}

#[test]
fn what_cannot_be_written_is_refused_and_nothing_changes() {
    let (served, trained) = (open(&create_served(4)).unwrap(), open(&create_trained(4)).unwrap());
    let before = (bits(&served), bits(&trained));
    let refused = |result: Result<u64, TableError>| result.unwrap_err().to_string();
    assert_eq!(refused(served.put(&[1500], &[0.0; DIM])), "ids: 1500 at place 0; expected ids below 1500");
    assert_eq!(refused(served.put(&[0], &[0.0; 5])), "rows to put: 5 values; expected 6 for each of 1 ids");
    assert!(refused(served.put(&[0], &[f32::NAN; DIM])).contains("NaN at element 0 of row 0"));
    assert!(refused(served.train(&[0], &[0.0; DIM])).contains("cannot be trained; put rows"));
    assert!(refused(trained.put(&[0], &[0.0; DIM])).contains("Hash cannot put rows"));
    assert!(refused(trained.train(&[80], &[0.0; DIM])).contains("ids below 80"));
    assert!(refused(trained.train(&[3], &[f32::INFINITY; DIM])).contains("inf at element 0"));
    let version = served.pin();
    assert!(version.lookup(&[0, 9999]).unwrap_err().to_string().contains("9999 at place 1"));
    assert!(version.pool(&[0, 1], &[0, 2, 1], None, Pool::Sum).unwrap_err().to_string().contains("decrease"));
    assert!(version.dot(&[0.0], &[0]).is_err());
    assert_eq!((bits(&served), bits(&trained)), before);
    assert_eq!(served.pin().number(), 0);
}
