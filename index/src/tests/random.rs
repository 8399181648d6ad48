//! Choices without state.

use proptest::prelude::*;

use crate::random::Random;

proptest! {
    #[test]
    fn strata_are_distinct_ascending_in_range_and_one_each(
        seed in any::<u64>(),
        n in 0u64..300,
        total in prop_oneof![0u64..400, Just(u64::from(u32::MAX)), any::<u64>()],
    ) {
        let drawn = Random::new(seed, 1).strata(n, total);
        prop_assert_eq!(drawn.len() as u64, n.min(total));
        prop_assert!(drawn.windows(2).all(|two| two[0] < two[1]));
        prop_assert!(drawn.iter().all(|&row| row < total));
        let strata = drawn.len() as u128;
        for (i, &row) in (0u128..).zip(&drawn) {
            let (start, end) = (i * u128::from(total) / strata, (i + 1) * u128::from(total) / strata);
            prop_assert!((start..end).contains(&u128::from(row)));
        }
    }

    #[test]
    fn a_draw_is_below_its_bound(seed in any::<u64>(), i in any::<u64>(), below in 1u64..) {
        prop_assert!(Random::new(seed, 0).below(i, below) < below);
    }
}

#[test]
fn draws_depend_on_seed_lane_and_number() {
    let first = Random::new(1, 1).at(0);
    assert_eq!(first, Random::new(1, 1).at(0));
    for other in [Random::new(2, 1).at(0), Random::new(1, 2).at(0), Random::new(1, 1).at(1)] {
        assert_ne!(first, other);
    }
    // Ten thousand draws of ten: no number is drawn much too often.
    let mut counts = [0; 10];
    (0..10_000).for_each(|i| counts[Random::new(3, 3).below(i, 10) as usize] += 1);
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}
