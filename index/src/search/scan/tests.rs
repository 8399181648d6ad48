//! Errors of estimates where sums are rounded below 0 or overflow.

use super::*;
use crate::posting::{Body, Posting};
use crate::quantize::{Bounds, CodeShape, Scale, encode};
use crate::slots::Slots;

/// Scans a list of one entry under these bounds, by all bits or by its signs; the candidate it gives.
fn scan(bounds: Bounds, squared: f32, all_bits: bool) -> Candidate {
    let shape = CodeShape { dim: 16, bits: 4 };
    let (centroid, query) = ([0.5; 16], [0.5; 16]);
    let encoded = encode(shape, Scale::Unbiased, &centroid, &[0.75; 16], &[7]);
    let codes = CodedList { shape, signs: &encoded.signs, records: &encoded.records, bounds, slots: None };
    let list = HeldList {
        posting: Posting::held(1, Slots { first: 3, primaries: 1, copies: &[] }, Body::Coded(codes)),
        all_bits,
    };
    let mut coded_query = CodedQuery::default();
    coded_query.set(shape, &query);
    let (mut pool, mut found) = (Pool::default(), Vec::new());
    pool.reset(4);
    let (scratch, cost) = (&mut ScanScratch::default(), &mut Cost::default());
    coded(&coded_query, &list, &codes, squared, Admit::default(), (scratch, &mut pool, cost));
    pool.take(&mut found);
    assert_eq!((found.len(), found[0].key), (1, 3));
    found[0]
}

#[test]
fn an_error_is_never_no_number() {
    let bounds = |full_slope| Bounds { sign_slope: full_slope, sign_offset: full_slope, full_slope };
    for (slope, squared, right) in [
        (0.5, 4.0, 1.0),
        (0.5, 0.0, 0.0),
        (0.5, -1e-9, 0.0),
        (0.5, f32::NEG_INFINITY, 0.0),
        (0.5, f32::NAN, f32::INFINITY),
        (f32::INFINITY, 4.0, f32::INFINITY),
        (f32::INFINITY, 0.0, f32::INFINITY),
        (f32::INFINITY, -1e-9, f32::INFINITY),
        (f32::NAN, 4.0, f32::INFINITY),
    ] {
        assert_eq!(bounds(slope).full_error(squared), right, "{slope} {squared}");
        assert_eq!(scan(bounds(slope), squared, true).error, right, "{slope} {squared}");
        let by_signs = scan(bounds(slope), squared, false).error;
        assert!(by_signs >= 0.0, "{slope} {squared}: {by_signs}");
    }
}
