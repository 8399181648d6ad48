//! Ids that come and go, durably.

use super::*;

/// A step of the script: mostly training, sometimes rows that are put, sometimes expiry.
fn take(table: &EmbeddingTable, at: usize, step: &(Vec<u64>, Vec<f32>)) -> Result<u64, TableError> {
    let (ids, values) = step;
    match at % 11 {
        // There may be no room; then it is training, too.
        3 => table.put_at(ids, values, at as u64).or_else(|_| table.train_at(ids, values, at as u64)),
        7 => table.expire(),
        _ => table.train_at(ids, values, at as u64),
    }
}

fn twin_after(script: &[(Vec<u64>, Vec<f32>)]) -> Dynamic {
    let mut twin = dynamic();
    for (at, (ids, values)) in script.iter().enumerate() {
        match at % 11 {
            3 if twin.has_room_for(ids) => twin.put(ids, values, at as u64).unwrap(),
            7 => drop(twin.expire()),
            _ => twin.train(ids, values, at as u64).unwrap(),
        }
    }
    twin
}

fn run(table: &EmbeddingTable, from: usize, script: &[(Vec<u64>, Vec<f32>)]) -> usize {
    (from..script.len()).take_while(|&at| take(table, at, &script[at]).is_ok()).count()
}

#[test]
fn the_power_goes_at_every_operation_while_ids_come_and_go() {
    let script = steps(21, 160);
    let operations = {
        let disk = create_dynamic(21);
        let before = disk.operations();
        let table = open(&disk).unwrap();
        assert_eq!(run(&table, 0, &script), script.len());
        assert!(disk.list().unwrap().iter().all(|name| name != "segments.000001"), "the log was folded");
        let own = table.pin().rows();
        assert!(own > 0 && own <= 30, "{own}");
        disk.operations() - before
    };
    for at in 1..=operations + 3 {
        let disk = create_dynamic(21);
        disk.crash_at(disk.operations() + at);
        let acknowledged = open(&disk).map_or(0, |table| run(&table, 0, &script));
        disk.crash(at);
        let table = open(&disk).unwrap();
        let found = table.pin().number() as usize;
        assert!(found == acknowledged || found == acknowledged + 1, "{found} after {acknowledged}, {at}");
        let twin = twin_after(&script[..found]);
        assert_eq!(bits_below_80(&table), bits_below_80_of(&twin), "{at}");
        assert_eq!(run(&table, found, &script), script.len() - found);
        let twin = twin_after(&script);
        assert_eq!((table.pin().rows(), bits_below_80(&table)), (twin.own_rows(), bits_below_80_of(&twin)));
        table.inner.verify().unwrap();
    }
}

#[test]
fn what_has_expired_gives_back_its_space_and_its_id_shares() {
    let disk = create_dynamic(22);
    let table = open(&disk).unwrap();
    let ids: Vec<u64> = (0..30).map(|id| id << 40).collect();
    table.put_at(&ids, &[2.0; 30 * DIM], 1).unwrap();
    table.compact().unwrap();
    let (before, full) = (table.pin(), table.stats().unwrap().file_bytes);
    assert_eq!((before.rows(), before.ids().collect::<Vec<_>>()), (30, ids.clone()));
    for _ in 0..41 {
        table.train_at(&[5 << 40], &[0.0; DIM], 2).unwrap();
    }
    table.expire().unwrap();
    assert_eq!(table.pin().ids().collect::<Vec<_>>(), [5 << 40]);
    assert_eq!(table.pin().lookup(&[7 << 40]).unwrap(), [0.25; DIM]);
    assert_eq!(before.lookup(&[7 << 40]).unwrap(), [2.0; DIM], "a pinned version stays");
    table.compact().unwrap();
    assert!(table.stats().unwrap().file_bytes <= full);
    let bytes: u64 = table.stats().unwrap().segments.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(bytes, 2 * (DIM as u64 * 4 + 4) + 8 + 16);
    drop((table, before));
    assert_eq!(open(&disk).unwrap().pin().ids().collect::<Vec<_>>(), [5 << 40]);
}

#[test]
fn what_cannot_be_is_refused() {
    let disk = create_dynamic(23);
    let table = open(&disk).unwrap();
    for (ids, values) in
        [(&[u64::MAX][..], &[1.0; DIM][..]), (&[1], &[f32::NAN; DIM]), (&[1, 2], &[1.0; DIM])]
    {
        assert!(table.put(ids, values).is_err() && table.train(ids, values).is_err());
    }
    assert_eq!(table.pin().number(), 0);
    assert!(table.pin().lookup(&[u64::MAX]).is_err());
    let ids: Vec<u64> = (0..30).collect();
    table.put(&ids, &[1.0; 30 * DIM]).unwrap();
    table.put(&[3, 29], &[2.0; 2 * DIM]).unwrap();
    let full = table.put(&[29, 30], &[2.0; 2 * DIM]).unwrap_err().to_string();
    assert!(full.contains("fit among 30") && table.pin().number() == 2, "{full}");
    // It opens again, however far its rows were pulled.
    for gradient in [f32::MAX, f32::MIN, 1e20] {
        table.train(&[3, 99], &[gradient; 2 * DIM]).unwrap();
    }
    let pulled = table.pin().lookup(&[3, 99]).unwrap();
    assert!(pulled.iter().all(|value| value.is_finite()), "{pulled:?}");
    table.compact().unwrap();
    drop(table);
    assert_eq!(open(&disk).unwrap().pin().lookup(&[3, 99]).unwrap(), pulled);
    let served = open(&create_served(23)).unwrap();
    let error = served.expire().unwrap_err().to_string();
    assert!(error.contains("cannot have rows expire"), "{error}");
}
