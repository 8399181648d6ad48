//! Searches for what is worth keeping.

use proptest::prelude::*;

use super::super::*;
use super::values;

pub(super) fn rows_of(table: &dyn Table) -> Vec<f32> {
    let ids: Vec<u64> = (0..table.rows()).collect();
    let mut rows = vec![0.0; ids.len() * table.dim()];
    table.lookup(&ids, &mut rows).unwrap();
    rows
}

pub(super) fn plain(seed: u64, rows: u64, dim: usize) -> Hash {
    Hash::new(rows, dim, rows * dim as u64 * 4, 1.0, seed).unwrap()
}

#[test]
fn pruning_goes_on_towards_its_share_and_values_may_come_back() {
    let pruning = Pruning::new(0.8, 20, 10, 100).unwrap();
    let share = |steps| (pruning.share_after(steps) * 1e4).round() / 1e4;
    // 0.8·(1 − 0.99^(t/100)).
    assert_eq!([share(0), share(20), share(120), share(20 + 6_900)], [0.0, 0.0, 0.008, 0.4001]);
    let mut table = plain(1, 50, 4);
    for (steps, expected) in [(19, None), (20, Some(0)), (25, None), (6_920, Some(80)), (9_020, Some(95))] {
        assert_eq!(pruning.prune(&mut table, steps), expected, "{steps}");
    }
    let zeros = |table: &Hash| rows_of(table).iter().filter(|&&x| x == 0.0).count();
    assert_eq!(zeros(&table), 95);
    let mut optimizer = Optimizer::new(Rule::Sgd { rate: 1.0 }, table.shapes()).unwrap();
    train(&mut table, &[7], &[-5.0; 4], &mut optimizer).unwrap();
    assert_eq!(rows_of(&table)[28..32].iter().filter(|&&x| x == 0.0).count(), 0);
    for (share, every, period) in [(1.1, 1, 1), (-0.1, 1, 1), (f64::NAN, 1, 1), (0.5, 0, 1), (0.5, 1, 0)] {
        assert!(Pruning::new(share, 0, every, period).is_err(), "{share} {every} {period}");
    }
}

#[test]
fn dimensions_that_help_keep_their_factors_and_others_lose_them() {
    // Frequent rows: only dimension 0 says what is wanted, of rare ones only dimension 1.
    let frequencies = [9, 9, 9, 1, 1, 1];
    let mut saliency = Saliency::new(&frequencies, 2, 2).unwrap();
    let rows = [1.0, 1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0, -1.0, 1.0];
    let wanted = |id: u64, row: &[f32]| if id < 3 { row[0] } else { row[1] };
    let ids: Vec<u64> = (0..6).collect();
    for _ in 0..400 {
        let mut products = rows.to_vec();
        saliency.scale(&ids, &mut products).unwrap();
        // The squared error of their sum.
        let gradients: Vec<f32> = ids
            .iter()
            .flat_map(|&id| {
                let at = id as usize * 2;
                [products[at] + products[at + 1] - wanted(id, &rows[at..at + 2]); 2]
            })
            .collect();
        saliency.step(&ids, &rows, &gradients, 0.05, 0.01).unwrap();
    }
    let [a, b, c, d] = saliency.factors() else { panic!() };
    assert!(*a > 0.9 && *d > 0.9 && *b < 0.1 && *c < 0.1, "{:?}", saliency.factors());
    let kept = Sparse::prune(&saliency.fold(&rows).unwrap(), 2, 6).unwrap();
    let best = |id: u64| if id < 3 { [true, false] } else { [false, true] };
    for (id, row) in (0..).zip(rows_of(&kept).chunks_exact(2)) {
        assert_eq!([row[0] != 0.0, row[1] != 0.0], best(id), "{id}");
    }
}

#[test]
fn saliency_refuses_what_does_not_fit() {
    assert!(Saliency::new(&[1, 2], 0, 1).is_err());
    assert!(Saliency::new(&[1, 2], 4, 3).unwrap_err().to_string().contains("1 to 2"));
    assert!(Saliency::new(&[], 4, 1).is_err());
    let mut saliency = Saliency::new(&[1, 2], 2, 2).unwrap();
    assert!(saliency.scale(&[2], &mut [0.0; 2]).unwrap_err().to_string().contains("ids below 2"));
    assert!(saliency.fold(&[0.0; 3]).is_err());
    let before = saliency.clone();
    assert!(saliency.step(&[0], &[1.0; 2], &[f32::NAN; 2], 0.1, 0.0).is_err());
    assert!(saliency.step(&[0], &[1.0; 2], &[1.0; 2], f32::INFINITY, 0.0).is_err());
    assert_eq!(saliency, before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The gradient of a factor is that of finite differences.
    #[test]
    fn factors_move_against_their_slope(seed: u64, dim in 1usize..6, count in 1usize..9) {
        let frequencies: Vec<u64> = (0..7).map(|row| row * 31 % 7).collect();
        let mut saliency = Saliency::new(&frequencies, dim, 3).unwrap();
        let ids: Vec<u64> = (0..count as u64).map(|i| (i * 5 + seed % 7) % 7).collect();
        let (rows, target) = (values(seed, count * dim), values(seed ^ 1, count * dim));
        // Away from the ends, so that nothing is cut off.
        saliency.step(&ids, &vec![0.0; count * dim], &vec![0.0; count * dim], 1.0, 0.5).unwrap();
        let loss = |saliency: &Saliency| {
            let mut products = rows.clone();
            saliency.scale(&ids, &mut products).unwrap();
            products.iter().zip(&target).map(|(x, t)| f64::from((x - t) * (x - t)) / 2.0).sum::<f64>()
        };
        let mut products = rows.clone();
        saliency.scale(&ids, &mut products).unwrap();
        let gradients: Vec<f32> = products.iter().zip(&target).map(|(x, t)| x - t).collect();
        let (mut moved, rate) = (saliency.clone(), 1e-3);
        moved.step(&ids, &rows, &gradients, rate, 0.0).unwrap();
        let squares: f64 = saliency.factors().iter().zip(moved.factors())
            .map(|(a, b)| f64::from((a - b) / rate).powi(2)).sum();
        let change = (loss(&saliency) - loss(&moved)) / f64::from(rate);
        prop_assert!((change - squares).abs() <= 0.02 * squares + 2e-3, "{} {}", change, squares);
    }

    /// What is pruned is what sorting everything would leave out.
    #[test]
    fn the_least_values_are_pruned(seed: u64, rows in 1u64..40, dim in 1usize..6, share in 0.0..1.0f64, steps in 0u64..50_000) {
        let pruning = Pruning::new(share, 0, 1, 100).unwrap();
        let mut table = plain(seed, rows, dim);
        let mut expected = rows_of(&table);
        let count = pruning.prune(&mut table, steps).unwrap();
        let mut order: Vec<usize> = (0..expected.len()).collect();
        order.sort_by(|&a, &b| expected[a].abs().total_cmp(&expected[b].abs()).then(a.cmp(&b)));
        order[..count].iter().for_each(|&at| expected[at] = 0.0);
        prop_assert_eq!(count, (pruning.share_after(steps) * expected.len() as f64) as usize);
        prop_assert_eq!(rows_of(&table), expected);
    }
}
