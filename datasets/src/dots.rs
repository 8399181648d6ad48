//! The inner loop of every matrix product here, written so that the compiler keeps its sums in vector
//! registers.

/// Columns per panel.
pub(crate) const LANES: usize = 8;
/// Rows per tile.
pub(crate) const TILE: usize = 4;

/// One component of each of [`LANES`] vectors.
pub(crate) type Column = [f32; LANES];

/// Inner products of a tile of vectors with a panel of others, both component by component. Each sum runs over
/// the components in order, so a pair's product does not depend on its place in tile and panel.
pub(crate) fn products(panel: &[Column], tile: &[[f32; TILE]]) -> [Column; TILE] {
    let mut sums = [[0.0; LANES]; TILE];
    for (x, q) in panel.iter().zip(tile) {
        for (sums, q) in sums.iter_mut().zip(q) {
            for (sum, x) in sums.iter_mut().zip(x) {
                *sum += q * x;
            }
        }
    }
    sums
}
