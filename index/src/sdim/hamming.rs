//! The behaviours whose signatures are most alike, as ETA retrieves them.

use std::collections::BinaryHeap;

use crate::error::Result;

use super::check_len;

/// A behaviour, and in how many bits its signature differs. Ordered by that, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alike {
    /// Bits that differ.
    pub distance: u32,
    /// Its place among the signatures.
    pub at: usize,
}

/// The `k` signatures among `signatures` that differ from `query` in the fewest bits, nearest first; of equals, those
/// that come first. Fewer if there are fewer.
///
/// # Errors
/// When `signatures` are not whole signatures as long as `query`, or `query` is empty.
pub fn hamming_top_k(query: &[u64], signatures: &[u64], k: usize) -> Result<Vec<Alike>> {
    let words = query.len().max(1);
    check_len("signatures of behaviours", signatures.len(), signatures.len() / words * query.len())?;
    let mut nearest: BinaryHeap<Alike> = BinaryHeap::with_capacity(k.min(signatures.len() / words) + 1);
    for (at, signature) in signatures.chunks_exact(words).enumerate() {
        let distance = query.iter().zip(signature).map(|(a, b)| (a ^ b).count_ones()).sum();
        let is_worse = nearest.len() >= k && nearest.peek().is_none_or(|worst| worst.distance <= distance);
        if !is_worse {
            nearest.push(Alike { distance, at });
            if nearest.len() > k {
                nearest.pop();
            }
        }
    }
    Ok(nearest.into_sorted_vec())
}
