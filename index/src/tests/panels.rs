//! Distances to rows in panels.

use proptest::prelude::*;

use super::{naive, rows};
use crate::panels::Panels;

proptest! {
    #[test]
    fn many_queries_get_what_each_gets_alone_and_that_is_the_distance(
        (dim, values) in rows(100),
        queries in 1usize..15,
        (from, to) in (0.0f64..1.0, 0.0f64..1.0),
    ) {
        let panels = Panels::from_rows(dim, &values);
        let count = values.len() / dim;
        prop_assert_eq!((panels.rows(), panels.dim()), (count, dim));
        let at = |share: f64| (share * (count + 1) as f64) as usize;
        let range = at(from.min(to))..at(from.max(to));
        let queries: Vec<&[f32]> = values.chunks_exact(dim).cycle().take(queries).collect();
        let (mut many, mut one) = (vec![7.0; 3], vec![7.0; 5]);
        panels.distances_many(&queries, range.clone(), &mut many);
        prop_assert_eq!(many.len(), queries.len() * range.len());
        for (i, query) in queries.iter().enumerate() {
            panels.distances(query, range.clone(), &mut one);
            prop_assert_eq!(one.len(), range.len());
            for (j, row) in range.clone().enumerate() {
                prop_assert_eq!(one[j].to_bits(), many[i * range.len() + j].to_bits());
                let right = naive(query, &values[row * dim..][..dim]);
                prop_assert!((f64::from(one[j]) - right).abs() <= 1e-2, "{} {}", one[j], right);
            }
        }
    }

    #[test]
    fn rows_come_out_as_they_went_in((dim, values) in rows(70)) {
        let panels = Panels::from_rows(dim, &values);
        let mut row = vec![0.0; dim];
        for (i, right) in values.chunks_exact(dim).enumerate() {
            panels.row(i, &mut row);
            prop_assert_eq!(&row[..], right);
        }
    }
}

#[test]
fn no_distance_is_negative_or_nan() {
    let big = [3e38f32, -3e38, 1e20, 0.0, f32::MAX, f32::MIN, 1e-45, 1.0];
    let panels = Panels::from_rows(2, &big);
    let mut out = Vec::new();
    for query in big.chunks_exact(2) {
        panels.distances(query, 0..4, &mut out);
        assert!(out.iter().all(|&distance| distance >= 0.0), "{out:?}");
    }
}
