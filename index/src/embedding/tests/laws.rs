//! What every table keeps to, and what it refuses.

use proptest::prelude::*;

use super::super::*;
use super::values;

#[test]
fn bags_are_refused_for_what_is_wrong_with_them() {
    let refused = |ids: &[u64], offsets: &[u64], weights: Option<&[f32]>| {
        Bags::new(ids, offsets, weights).unwrap_err().to_string()
    };
    let ids = [1, 2, 3];
    assert!(refused(&ids, &[], None).contains("none; expected 0, and one more"));
    assert!(refused(&ids, &[1, 3], None).contains("begin with 1"));
    assert!(
        refused(&ids, &[0, 2, 1, 3], None)
            .contains("1 after 2 at offset 2; expected offsets that do not decrease")
    );
    assert!(refused(&ids, &[0, 2], None).contains("end with 2; expected the number of ids, 3"));
    assert!(refused(&ids, &[0, 3], Some(&[1.0])).contains("weights of ids: 1 values; expected 3"));
    assert!(refused(&ids, &[0, 3], Some(&[1.0, f32::NAN, 1.0])).contains("NaN at element 0 of row 1"));
    assert_eq!(Bags::new(&ids, &[0, 0, 3], None).unwrap().len(), 2);
}

#[test]
fn tables_refuse_ids_and_lengths_that_are_not_theirs() {
    let table = Rows::encode(FloatCodec::new(4, FloatType::F32), &values(1, 12)).unwrap();
    let mut out = [0.0; 8];
    let error = table.lookup(&[0, 3], &mut out).unwrap_err().to_string();
    assert_eq!(error, "ids: 3 at place 1; expected ids below 3");
    let error = table.lookup(&[0], &mut out).unwrap_err().to_string();
    assert_eq!(error, "rows to fill: 8 values; expected 4");
    let error = table.dot(&[1.0; 3], &[0], &mut out[..1]).unwrap_err().to_string();
    assert_eq!(error, "query: 3 values; expected 4");
    let bags = Bags::new(&[9], &[0, 1], None).unwrap();
    assert!(table.pool(&bags, Pool::Sum, &mut out[..4]).is_err());
    assert!(Rows::encode(FloatCodec::new(4, FloatType::F32), &[f32::NAN; 4]).is_err());
    assert!(Rows::from_bytes(FloatCodec::new(4, FloatType::F32), vec![0; 15]).is_err());
}

#[test]
fn budgets_say_what_would_do() {
    let rows = values(2, 160);
    let input = |budget| FitInput::new(&rows, 16, None, budget, 0).unwrap();
    assert_eq!(RowwiseCodec::fit(&input(200)).unwrap().codec().bits(), 8);
    assert_eq!(RowwiseCodec::fit(&input(199)).unwrap().codec().bits(), 4);
    assert_eq!(RowwiseCodec::fit(&input(119)).unwrap().codec().bits(), 2);
    let error = RowwiseCodec::fit(&input(79)).unwrap_err().to_string();
    assert!(error.contains("80 bytes needed, 79 bytes allowed"), "{error}");
    for budget in [200, 160, 120, 80] {
        assert!(RowwiseCodec::fit(&input(budget)).unwrap().bytes().total() <= budget);
    }
    assert!(FloatCodec::fit(&input(319)).is_err());
    assert!(UniformCodec::fit(&input(159)).is_err());
    assert!(StepCodec::fit(&input(199)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_code_is_further_off_than_half_a_step(seed: u64, dim in 1usize..40) {
        let rows = values(seed, dim);
        let mut back = vec![0.0; dim];
        for (bits, dialect) in [(8, Dialect::Fused32), (8, Dialect::Fused16), (4, Dialect::Fused16), (2, Dialect::Tbe)] {
            let table = Rows::encode(RowwiseCodec::new(dim, bits, dialect).unwrap(), &rows).unwrap();
            table.read(0, &mut back);
            // Scale and bias in f16 are off by 2⁻¹¹ themselves.
            let allowed = 2.0 / ((1 << bits) - 1) as f32 * 0.5 + 0.003;
            for (x, y) in rows.iter().zip(&back) {
                prop_assert!((x - y).abs() <= allowed, "{bits} {dialect:?}: {x} {y}");
            }
        }
    }
}

#[test]
fn rounding_by_chance_has_the_right_mean() {
    let codec = UniformCodec::new(64, 8, 0.01, 0.0).unwrap();
    let mut table = Rows::encode(codec, &[0.0; 64 * 50]).unwrap();
    let ids: Vec<u64> = (0..50).collect();
    // A step of 0.003 against a grid of 0.01: three in ten go up.
    table.train(&ids, &vec![-0.003; 64 * 50], 1.0, 7, 0).unwrap();
    let mut out = vec![0.0; 64 * 50];
    table.lookup(&ids, &mut out).unwrap();
    let mean = out.iter().sum::<f32>() / out.len() as f32;
    assert!((mean - 0.003).abs() < 0.0006, "{mean}");
    assert!(table.train(&[0, 0], &[0.0; 128], 1.0, 7, 1).unwrap_err().to_string().contains("0 twice"));
    assert!(table.train(&[0], &[f32::NAN; 64], 1.0, 7, 1).is_err());
}

#[test]
fn steps_learn_to_reach_values_beyond_their_range() {
    let mut table = Rows::encode(StepCodec::new(4, 8).unwrap(), &[0.1, -0.1, 0.05, 0.0]).unwrap();
    let target = [0.3, -0.3, 0.15, 0.0];
    let how = StepTraining { rate: 0.1, step_rate: 2e-4, batch: 1, seed: 3 };
    let mut row = [0.0; 4];
    for number in 0..400 {
        table.lookup(&[0], &mut row).unwrap();
        let gradient: Vec<f32> = row.iter().zip(&target).map(|(x, t)| x - t).collect();
        table.train(&[0], &gradient, &how, number).unwrap();
    }
    table.lookup(&[0], &mut row).unwrap();
    assert!(row.iter().zip(&target).all(|(x, t)| (x - t).abs() < 0.02), "{row:?}");
}
