//! What is trained on codes, or through them, comes near what it is drawn to, and stays codes.

use super::*;
use crate::data::made;
use crate::methods::{TRAINED, rows_of};

/// More than plain rows of so few ids: the codebooks of MGQE alone are 16 KiB. What is shown is that gradients get through.
const BUDGET: u64 = 64 << 10;

#[test]
fn rows_come_near_what_gradients_draw_them_to() {
    let data = made();
    let ids: Vec<u64> = (0..data.ids).chain(0..data.ids / 2).collect();
    let target = |id: u64, j: usize| (id * 31 + j as u64 * 17) as f32 % 29.0 / 29.0 - 0.5;
    for (name, bytes) in [
        ("MGQE, through its codes", None),
        ("INT16, on codes", Some(32)),
        ("INT8, on codes", Some(16)),
        ("ALPT, on codes", Some(20)),
    ] {
        let method = TRAINED.iter().find(|method| method.name == name).unwrap();
        let mut learner = (method.new)(&data, BUDGET, 0.01, 0).unwrap();
        let mut step = || {
            let mut gradients = learner.rows(&ids);
            for (&id, row) in ids.iter().zip(gradients.chunks_exact_mut(DIM)) {
                row.iter_mut().enumerate().for_each(|(j, x)| *x -= target(id, j));
            }
            learner.step(&ids, &gradients);
            gradients.iter().map(|g| g * g).sum::<f32>()
        };
        let first = step();
        let last = (0..400).map(|_| step()).last().unwrap();
        assert!(last < first * 0.05, "{name}: {first} {last}");
        let table = learner.table();
        assert!(table.bytes().total() <= BUDGET, "{name}");
        assert!(bytes.is_none_or(|bytes| table.bytes().total() == bytes * data.ids), "{name}");
        let all: Vec<u64> = (0..data.ids).collect();
        assert_eq!(rows_of(&*table).unwrap(), learner.rows(&all), "{name}");
    }
}

#[test]
fn codes_that_do_not_fit_are_refused() {
    let data = made();
    for (name, bytes) in [("INT16, on codes", 32), ("INT8, on codes", 16), ("ALPT, on codes", 20)] {
        let method = TRAINED.iter().find(|method| method.name == name).unwrap();
        assert!((method.new)(&data, bytes * data.ids, 0.01, 0).is_ok(), "{name}");
        assert!((method.new)(&data, bytes * data.ids - 1, 0.01, 0).is_err(), "{name}");
    }
}
