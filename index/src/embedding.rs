//! The mathematics of compressed embedding tables: many rows of a few values, in fewer bytes.
//!
//! The methods are those that "Experimental Analysis of Large-scale Learnable Vector Storage Compression" (Zhang and
//! others, VLDB 2023) compares, and the layouts that recommender systems serve. Everything here is a function of slices:
//! there are no files and no names.
//!
//! * A [`Table`] answers by id: rows, pooled sums, products with a query; it tells its segments, which are all it needs
//!   to be stored, and so what it costs.
//! * A [`RowCodec`] says how one row becomes so many bytes. [`Rows`] is a table of them; whoever keeps rows elsewhere
//!   needs the codec alone.
//! * [`FitInput`] is what a table is fitted from: rows, how often each is asked for, bytes, a seed. The same input gives
//!   the same bytes, whatever the number of threads.
//! * [`Train`] hands a row's gradient on to parameters, [`Optimizer`] takes the step.

mod adaptive;
mod bit_stack;
mod by_method;
mod compositional;
mod cyclic;
mod deduplicated;
mod deep_hash;
mod dynamic;
mod evolution;
mod exchange;
mod fields;
mod fit;
mod float;
mod gradients;
mod hash;
mod linear;
mod lloyd;
mod low_rank;
mod masked;
mod mixed;
mod open;
mod optimizer;
mod product;
mod pruning;
mod residual;
mod robe;
mod rows;
mod rowwise;
mod runs;
mod saliency;
mod segment;
mod signed_runs;
mod sparse;
mod step;
mod supernet;
mod table;
mod tensor_train;
#[cfg(test)]
mod tests;
mod thresholds;
mod tiered;
mod uniform;

pub use adaptive::Adaptive;
pub use bit_stack::BitStack;
pub use by_method::{FITTED, STARTED, fit_as, start_as};
pub use compositional::{Combine, Compositional};
pub use cyclic::Cyclic;
pub use deduplicated::Deduplicated;
pub use deep_hash::DeepHash;
pub use dynamic::{Dynamic, DynamicRules};
pub use evolution::{Evolution, EvolutionRules};
pub use exchange::{read_faiss_pq, rows_by_key, write_faiss_pq};
pub use fit::FitInput;
pub use float::{FloatCodec, FloatType};
pub use gradients::{Gradients, Shape, Train, train};
pub use hash::Hash;
pub use low_rank::LowRankCodec;
pub use masked::Masked;
pub use mixed::Mixed;
pub use open::{open, open_codec, open_dynamic, open_runs, open_trainable};
pub use optimizer::{Optimizer, Rule, move_row};
pub use product::{Codebook, ProductCodec};
pub use pruning::Pruning;
pub use residual::ResidualCodec;
pub use robe::{Robe, RobeRules};
pub use rows::{RowCodec, Rows};
pub use rowwise::{Dialect, RowwiseCodec};
pub use runs::{Gathered, Run, Runs, ValuePart, is_values};
pub use saliency::Saliency;
pub use segment::{Dtype, Segment, Segments, SizeReport};
pub use sparse::Sparse;
pub use step::{StepCodec, StepTraining};
pub use supernet::{Supernet, SupernetRules};
pub use table::{Method, Pool, Table};
pub use tensor_train::{DigitOrder, TensorTrain};
pub use thresholds::Thresholds;
pub use tiered::{Tiered, TieredTraining};
pub use uniform::UniformCodec;

pub use crate::kernel::{AHEAD, Bag, Bags};
pub use crate::vector::DIM_MAX;

use crate::error::{IndexError, Result};
use crate::finite::first_not_finite;
use crate::random::Random;

/// Refuses a buffer of another length than the other arguments ask for.
fn check_len(name: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(IndexError::input(name, format!("{found} values"), format!("{expected}")))
}

/// Refuses values that are no numbers.
fn check_finite(name: &str, dim: usize, values: &[f32]) -> Result<()> {
    match first_not_finite(values) {
        Some(at) => {
            let found = format!("{} at element {} of row {}", values[at], at % dim, at / dim);
            Err(IndexError::input(name, found, "finite values"))
        }
        None => Ok(()),
    }
}

/// Uniform values in `±scale`, which depend on the seed and the purpose alone.
fn uniform_values(seed: u64, lane: u64, count: usize, scale: f32) -> Vec<f32> {
    let random = Random::new(seed, lane);
    let value = |i| ((random.at(i) >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale;
    (0..count as u64).map(value).collect()
}
