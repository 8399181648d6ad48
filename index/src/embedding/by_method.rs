//! Tables of a method that is named: fitted to rows, or before their first step of training.

use crate::error::{IndexError, Result};
use crate::vector::DIM_MAX;

use super::*;

/// Methods that can be fitted to rows.
pub const FITTED: [Method; 18] = [
    Method::Float,
    Method::Rowwise,
    Method::Uniform,
    Method::Step,
    Method::Product,
    Method::Tiered,
    Method::Residual,
    Method::BitStack,
    Method::LowRank,
    Method::Mixed,
    Method::TensorTrain,
    Method::Deduplicated,
    Method::Hash,
    Method::Robe,
    Method::Cyclic,
    Method::Adaptive,
    Method::Masked,
    Method::Sparse,
];

/// Methods that a table can be started in, to be trained, by rows, dimensions and budget alone.
pub const STARTED: [Method; 6] = [
    Method::Hash,
    Method::Compositional,
    Method::Robe,
    Method::Cyclic,
    Method::TensorTrain,
    Method::DeepHash,
];

/// Rows of a table that is started, at most.
const ROWS_MAX: u64 = 1 << 40;
/// Values of a chunk of ROBE, and hashes of DHE.
const CHUNK: usize = 8;
const HASHES: usize = 128;

/// The rules of ROBE tables that are made by name.
fn robe_rules(dim: usize) -> RobeRules {
    RobeRules { chunk: dim.min(CHUNK), is_wrapping: false, is_signed: true }
}

/// Fits a table of a method. `fields` are the rows of each field, where the method knows fields ([`Method::Mixed`]): all
/// rows are one if there are none.
///
/// # Errors
/// When tables of the method are not fitted (see [`FITTED`]), fields do not add up, or the budget is too small.
pub fn fit_as(method: Method, input: &FitInput<'_>, fields: &[u64]) -> Result<Box<dyn Table>> {
    let whole = [input.rows() as u64];
    let fields = if fields.is_empty() { &whole[..] } else { fields };
    Ok(match method {
        Method::Float => Box::new(FloatCodec::fit(input)?),
        Method::Rowwise => Box::new(RowwiseCodec::fit(input)?),
        Method::Uniform => Box::new(UniformCodec::fit(input)?),
        Method::Step => Box::new(StepCodec::fit(input)?),
        Method::Product => Box::new(ProductCodec::fit(input)?),
        Method::Tiered => Box::new(Tiered::fit(input)?),
        Method::Residual => Box::new(ResidualCodec::fit(input)?),
        Method::BitStack => Box::new(BitStack::fit(input)?),
        Method::LowRank => Box::new(LowRankCodec::fit(input)?),
        Method::Mixed => Box::new(Mixed::fit(input, fields)?),
        Method::TensorTrain => Box::new(TensorTrain::fit(input)?),
        Method::Deduplicated => Box::new(Deduplicated::fit(input, 1)?),
        Method::Hash => Box::new(Hash::fit(input)?),
        Method::Robe => Box::new(Robe::fit(input, robe_rules(input.dim()))?),
        Method::Cyclic => Box::new(Cyclic::fit(input)?),
        Method::Adaptive => Box::new(Adaptive::fit(input)?),
        Method::Masked => Box::new(Masked::fit(input)?),
        Method::Sparse => Box::new(Sparse::fit(input)?),
        Method::Compositional | Method::DeepHash | Method::Dynamic => {
            return Err(not_one("a method to fit", method, &FITTED));
        }
    })
}

/// A table to be trained, of random values in `±scale` that follow from the seed.
///
/// # Errors
/// When tables of the method are not started so (see [`STARTED`]), there are too many rows or dimensions, `scale` is no
/// number, or the budget is too small.
pub fn start_as(
    method: Method,
    rows: u64,
    dim: usize,
    budget_bytes: u64,
    scale: f32,
    seed: u64,
) -> Result<Box<dyn Train>> {
    if !(1..=DIM_MAX).contains(&dim) {
        return Err(IndexError::option("dimensions", dim, format!("1 to {DIM_MAX}")));
    }
    if !(1..=ROWS_MAX).contains(&rows) {
        return Err(IndexError::option("rows", rows, format!("1 to {ROWS_MAX}")));
    }
    if !scale.is_finite() {
        return Err(IndexError::option("scale", scale, "a finite value"));
    }
    Ok(match method {
        Method::Hash => Box::new(Hash::new(rows, dim, budget_bytes, scale, seed)?),
        Method::Compositional => {
            Box::new(Compositional::new(rows, dim, budget_bytes, Combine::Multiply, scale, seed)?)
        }
        Method::Robe => Box::new(Robe::new(rows, dim, budget_bytes, robe_rules(dim), scale, seed)?),
        Method::Cyclic => Box::new(Cyclic::new(rows, dim, budget_bytes, scale, seed)?),
        Method::TensorTrain => Box::new(TensorTrain::new(rows, dim, budget_bytes, scale, seed)?),
        Method::DeepHash => Box::new(DeepHash::new(rows, dim, budget_bytes, HASHES, seed)?),
        other => return Err(not_one("a method to train", other, &STARTED)),
    })
}

fn not_one(what: &'static str, found: Method, expected: &[Method]) -> IndexError {
    let names: Vec<&str> = expected.iter().map(|method| method.name()).collect();
    IndexError::option(what, found.name(), format!("one of {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_name_and_those_told_can_be_made() {
        for method in Method::ALL {
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        let values: Vec<f32> = (0..64 * 8).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let frequencies: Vec<u64> = (0..64).rev().collect();
        let input = FitInput::new(&values, 8, Some(&frequencies), 1 << 20, 3).unwrap();
        for method in Method::ALL {
            let fitted = fit_as(method, &input, &[]);
            assert_eq!(fitted.is_ok(), FITTED.contains(&method), "{method:?} {:?}", fitted.err());
            let started = start_as(method, 64, 8, 1 << 20, 0.1, 3);
            assert_eq!(started.is_ok(), STARTED.contains(&method), "{method:?}");
            let made: Box<dyn Table> = match (fitted, started) {
                (Ok(table), _) => table,
                (_, Ok(table)) => table,
                // Its rows come by themselves.
                _ if method == Method::Dynamic => continue,
                _ => panic!("{method:?} can be made by neither"),
            };
            assert_eq!((made.method(), made.rows(), made.dim()), (method, 64, 8));
        }
        assert!(start_as(Method::Hash, 1 << 41, 8, 1 << 20, 0.1, 3).is_err());
        assert!(start_as(Method::Cyclic, 8, 0, 1 << 20, 0.1, 3).is_err());
        assert!(start_as(Method::Robe, 8, 8, 1 << 20, f32::NAN, 3).is_err());
    }
}
