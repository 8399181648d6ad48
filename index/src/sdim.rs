//! The mathematics of SDIM: a long history of behaviours, hashed into buckets, stands in for attention over it.
//!
//! "Sampling Is All You Need on Modeling Long-Term User Behaviors for CTR Prediction" (Cao and others, CIKM 2022,
//! arXiv 2205.10249). Everything here is a function of slices: there are no users and no time.
//!
//! * A [`SignFamily`] hashes a vector to G·τ bits, its **signature**: each says on which side of a random plane the
//!   vector lies. The τ bits of a **group** name a **bucket**, 0 to 2^τ.
//! * A [`BucketTable`] has the sum of the vectors in each bucket of each group, and their number. Vectors come and go.
//! * A [`ServingTable`], made of it, answers the **interest** of candidates: the mean over the groups of the bucket a
//!   candidate falls into.
//! * A [`HalfTable`] is a table in a quarter of the bytes, with rounded sums.
//! * A [`SparseTable`] answers the same of few behaviours in many buckets.
//! * An [`ErrorMemory`] hashes what a model got wrong into such buckets, to put it right (ReLoop2).
//! * [`hamming_top_k`] finds the behaviours whose signatures are most alike (ETA), [`exact_attention`] is what all of
//!   this approximates.

mod attention;
mod error_memory;
mod family;
mod half;
mod hamming;
mod interest;
mod sparse;
mod table;
#[cfg(test)]
mod tests;

pub use attention::{collision_weight, exact_attention};
pub use error_memory::{ErrorMemory, ErrorOptions};
pub use family::{
    GROUP_BITS_MAX, HASHES_MAX, PROJECTION_VALUES_MAX, SignFamily, SignShape, TABLE_VALUES_MAX,
};
pub use half::HalfTable;
pub use hamming::{Alike, hamming_top_k};
pub use interest::{Normalize, ServingTable, interest_jagged};
pub use sparse::SparseTable;
pub use table::BucketTable;

use crate::error::{IndexError, Result};
use crate::finite::first_not_finite;

/// Refuses values that are not whole vectors of finite numbers; says how many vectors there are.
fn check_vectors(name: &str, dim: usize, values: &[f32]) -> Result<usize> {
    let bad = |found: String| {
        let expected = format!("whole vectors of {dim} finite values");
        IndexError::BadInput { name: name.to_owned(), found, expected }
    };
    if !values.len().is_multiple_of(dim) {
        return Err(bad(format!("{} values", values.len())));
    }
    match first_not_finite(values) {
        Some(at) => Err(bad(format!("{} at element {} of vector {}", values[at], at % dim, at / dim))),
        None => Ok(values.len() / dim),
    }
}

/// Refuses a buffer of another length than the other arguments ask for.
fn check_len(name: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (format!("{found} values"), format!("{expected}"));
    Err(IndexError::BadInput { name: name.to_owned(), found, expected })
}
