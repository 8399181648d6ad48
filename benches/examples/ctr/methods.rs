//! The methods: those fitted to a table that was trained without any, and those trained as they are.

use anyhow::Result;
use nearline::embedding::*;

use crate::data::Data;
use crate::learner::{self, Learner, Parameters, Tiers};
use crate::{DIM, FIRST_SCALE};

/// Fits a method to a table, within so many bytes, by a seed.
pub(crate) type Fit = fn(&Data, &dyn Table, u64, u64) -> Result<Box<dyn Table>>;

/// A method that is fitted.
pub(crate) struct Fitted {
    pub(crate) name: &'static str,
    pub(crate) fit: Fit,
}

/// What is trained of a method, within so many bytes, at a rate, by a seed.
pub(crate) type New = fn(&Data, u64, f32, u64) -> Result<Box<dyn Learner>>;

/// A method that is trained.
pub(crate) struct Trained {
    pub(crate) name: &'static str,
    pub(crate) new: New,
}

macro_rules! fitted {
    ($name:literal, $knows:expr, |$input:ident, $data:ident| $fit:expr) => {
        Fitted {
            name: $name,
            fit: |$data, table, budget, seed| {
                let rows = rows_of(table)?;
                let frequencies = $knows.then_some(&$data.frequencies[..]);
                let $input = &FitInput::new(&rows, DIM, frequencies, budget, seed)?;
                Ok(Box::new($fit?))
            },
        }
    };
}

/// All rows of a table.
pub(crate) fn rows_of(table: &dyn Table) -> Result<Vec<f32>> {
    let ids: Vec<u64> = (0..table.rows()).collect();
    let mut rows = vec![0.0; ids.len() * DIM];
    table.lookup(&ids, &mut rows)?;
    Ok(rows)
}

pub(crate) const FITTED: &[Fitted] = &[
    fitted!("float", false, |input, _data| FloatCodec::fit(input)),
    fitted!("int8/4/2", false, |input, _data| RowwiseCodec::fit(input)),
    fitted!("INT8/16", false, |input, _data| UniformCodec::fit(input)),
    fitted!("ALPT, fitted", false, |input, _data| StepCodec::fit(input)),
    fitted!("PQ", false, |input, _data| ProductCodec::fit(input)),
    fitted!("PQ, weighted", true, |input, _data| ProductCodec::fit(input)),
    fitted!("MGQE, fitted", true, |input, _data| Tiered::fit(input)),
    fitted!("RQ, weighted", true, |input, _data| ResidualCodec::fit(input)),
    fitted!("BitStack", false, |input, _data| BitStack::fit(input)),
    fitted!("SVD, weighted", true, |input, _data| LowRankCodec::fit(input)),
    fitted!("MDE, fitted", true, |input, data| Mixed::fit(input, &data.fields)),
    fitted!("Dedup", false, |input, _data| Deduplicated::fit(input, 1)),
    fitted!("TT, fitted", false, |input, _data| TensorTrain::fit(input)),
    fitted!("RPS, fitted", true, |input, _data| Cyclic::fit(input)),
    fitted!("ROBE, fitted", true, |input, _data| Robe::fit(input, ROBE)),
    fitted!("hash, fitted", true, |input, _data| Hash::fit(input)),
    fitted!("AdaptEmb, fitted", true, |input, _data| Adaptive::fit(input)),
    fitted!("rows left out", true, |input, _data| Masked::fit(input)),
    fitted!("pruned values", false, |input, _data| Sparse::fit(input)),
];

const ROBE: RobeRules = RobeRules { chunk: 8, is_wrapping: false, is_signed: true };

/// Random rows, from which tables begin that are fitted before they are trained.
pub(crate) fn first_rows(data: &Data, seed: u64) -> Result<Vec<f32>> {
    let plain = data.ids * DIM as u64 * 4;
    rows_of(&Hash::new(data.ids, DIM, plain, FIRST_SCALE, seed)?)
}

macro_rules! trained {
    ($name:literal, |$data:ident, $budget:ident, $rate:ident, $seed:ident| $learner:expr) => {
        Trained { name: $name, new: |$data, $budget, $rate, $seed| Ok(Box::new($learner?)) }
    };
    ($name:literal, |$data:ident, $budget:ident, $seed:ident| $table:expr) => {
        trained!($name, |$data, $budget, rate, $seed| Parameters::new($table?, rate))
    };
}

pub(crate) const TRAINED: &[Trained] = &[
    trained!("hash", |data, budget, seed| Hash::new(data.ids, DIM, budget, FIRST_SCALE, seed)),
    trained!("QR, product", |data, budget, seed| {
        Compositional::new(data.ids, DIM, budget, Combine::Multiply, FIRST_SCALE, seed)
    }),
    trained!("ROBE", |data, budget, seed| Robe::new(data.ids, DIM, budget, ROBE, FIRST_SCALE, seed)),
    trained!("STABLE-RPS", |data, budget, seed| Cyclic::new(data.ids, DIM, budget, FIRST_SCALE, seed)),
    trained!("AdaptEmb", |data, budget, seed| {
        let rows = first_rows(data, seed)?;
        Adaptive::fit(&FitInput::new(&rows, DIM, Some(&data.frequencies), budget, seed)?)
    }),
    trained!("MDE", |data, budget, seed| {
        let rows = first_rows(data, seed)?;
        Mixed::fit(&FitInput::new(&rows, DIM, Some(&data.frequencies), budget, seed)?, &data.fields)
    }),
    trained!("TT-Rec", |data, budget, seed| TensorTrain::new(data.ids, DIM, budget, FIRST_SCALE, seed)),
    trained!("DHE", |data, budget, seed| DeepHash::new(data.ids, DIM, budget, 32, seed)),
    trained!("MGQE, through its codes", |data, budget, rate, seed| {
        let rows = first_rows(data, seed)?;
        let table = Tiered::fit(&FitInput::new(&rows, DIM, Some(&data.frequencies), budget, seed)?)?;
        Tiers::new(table, rows, rate)
    }),
    trained!("INT16, on codes", |data, budget, rate, seed| {
        learner::on_grid(&first_rows(data, seed)?, 16, budget, rate, seed)
    }),
    trained!("INT8, on codes", |data, budget, rate, seed| {
        learner::on_grid(&first_rows(data, seed)?, 8, budget, rate, seed)
    }),
    trained!("ALPT, on codes", |data, budget, rate, seed| {
        learner::with_steps(&first_rows(data, seed)?, budget, rate, seed)
    }),
];
