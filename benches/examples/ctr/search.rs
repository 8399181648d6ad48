//! What of a table is kept is searched while the model is trained: values (DeepLight, AutoSrh), dimensions and rows (AutoDim,
//! OptEmbed).

#[cfg(test)]
mod tests;
mod widths;

use anyhow::{Context, Result};
use nearline::embedding::{FitInput, Hash, Pruning, Saliency, Sparse, Table};

use crate::data::Data;
use crate::learner::Parameters;
use crate::methods::rows_of;
use crate::model::{BATCH, EPOCHS, Kind, Model, PATIENCE, Training, shuffled};
use crate::{DIM, FIRST_SCALE};

/// Epochs without zeros or factors.
const WARM_UP: usize = 2;
/// Epochs in which nearly all that are to be become zeros, or factors move.
const SEARCHED_EPOCHS: usize = 4;
/// Steps between prunings, and groups of rows, as in the comparison of the methods.
const EVERY: u64 = 10;
const GROUPS: usize = 6;
/// How factors move; the pull is that of L1. The first rate is that of the comparison, whose data has many more steps;
/// validation says which is best.
const FACTOR_RATES: [f32; 3] = [0.001, 0.01, 0.05];
const PULL: f32 = 1e-5;

/// What a search has found: the best on validation.
pub(crate) struct Found {
    pub(crate) table: Box<dyn Table>,
    pub(crate) model: Model,
    valid: f64,
    waited: usize,
}

/// A search: kind of model, data, bytes, rate, seed.
pub(crate) type Run = fn(Kind, &Data, u64, f32, u64) -> Result<Found>;

/// All searches, by their methods' names.
pub(crate) const SEARCHED: [(&str, Run); 4] = [
    ("DeepLight", deep_light),
    ("AutoSrh", auto_srh),
    ("AutoDim", widths::auto_dim),
    ("OptEmbed", widths::opt_embed),
];

/// Values that a table of so many bytes keeps.
fn kept(data: &Data, budget: u64) -> Result<usize> {
    let values = vec![1.0; data.ids as usize * DIM];
    Ok(Sparse::fit(&FitInput::new(&values, DIM, None, budget, 0)?)?.kept())
}

/// Rows of their own for all ids.
fn plain(data: &Data, rate: f32, seed: u64) -> Result<Parameters> {
    Parameters::new(Hash::new(data.ids, DIM, data.ids * DIM as u64 * 4, FIRST_SCALE, seed)?, rate)
}

/// Keeps the better of what was found and what is now; tells whether to stop.
fn is_over(best: &mut Option<Found>, table: Sparse, model: &Model, data: &Data) -> bool {
    let valid = model.valid(data, &table);
    match best {
        Some(best) if valid >= best.valid => {
            best.waited += 1;
            best.waited == PATIENCE
        }
        _ => {
            *best = Some(Found { table: Box::new(table), model: model.clone(), valid, waited: 0 });
            false
        }
    }
}

/// The least values become zero, more and more; of the epochs in which nearly all have, the best on validation counts.
fn deep_light(kind: Kind, data: &Data, budget: u64, rate: f32, seed: u64) -> Result<Found> {
    let kept = kept(data, budget)?;
    let share = 1.0 - kept as f64 / (data.ids as f64 * DIM as f64);
    let steps = data.train.len().div_ceil(BATCH) as u64;
    let period = (SEARCHED_EPOCHS as u64 * steps / 460).max(1);
    let pruning = Pruning::new(share, WARM_UP as u64 * steps, EVERY, period)?;
    let mut training = Training::new(kind, data, plain(data, rate, seed)?, rate, seed);
    let mut best = None;
    for epoch in 0..EPOCHS {
        for batch in shuffled(&data.train, seed, epoch).chunks(BATCH) {
            training.step(data, batch);
            pruning.prune(&mut *training.learner.table, training.steps);
        }
        if pruning.share_after(training.steps) >= share * 0.99 {
            let table = Sparse::prune(&rows_of(&*training.learner.table)?, DIM, kept)?;
            if is_over(&mut best, table, &training.model, data) {
                break;
            }
        }
    }
    best.context("no epoch with so many zeros")
}

/// The best on validation of what factors find that move slowly or faster.
fn auto_srh(kind: Kind, data: &Data, budget: u64, rate: f32, seed: u64) -> Result<Found> {
    let kept = kept(data, budget)?;
    let found = FACTOR_RATES.map(|of_factors| weighed(kind, data, kept, of_factors, rate, seed));
    let all: Vec<Found> = found.into_iter().collect::<Result<_>>()?;
    all.into_iter().min_by(|a, b| a.valid.total_cmp(&b.valid)).context("no rate was tried")
}

/// Rows learn from training data, for some epochs their factors from validation; then what is left of rows times factors learns
/// on, until that gets no better.
fn weighed(kind: Kind, data: &Data, kept: usize, factor_rate: f32, rate: f32, seed: u64) -> Result<Found> {
    let mut training = Training::new(kind, data, plain(data, rate, seed)?, rate, seed);
    let mut saliency = Saliency::new(&data.frequencies, DIM, GROUPS)?;
    for epoch in 0..WARM_UP + SEARCHED_EPOCHS {
        let valid = shuffled(&data.valid, seed, epoch);
        let mut of_factors = valid.chunks(BATCH).cycle();
        for batch in shuffled(&data.train, seed, epoch).chunks(BATCH) {
            let (ids, mut rows) = training.rows(data, batch);
            saliency.scale(&ids, &mut rows)?;
            let (mut of_rows, of_weights) = training.model.gradients(data, batch, &rows);
            saliency.scale(&ids, &mut of_rows)?;
            training.move_by(&ids, &of_rows, &of_weights);
            if epoch >= WARM_UP {
                let batch = of_factors.next().context("no rows for validation")?;
                let (ids, rows) = training.rows(data, batch);
                let mut products = rows.clone();
                saliency.scale(&ids, &mut products)?;
                let (of_rows, _) = training.model.gradients(data, batch, &products);
                saliency.step(&ids, &rows, &of_rows, factor_rate, PULL)?;
            }
        }
    }
    let rows = saliency.fold(&rows_of(&*training.learner.table)?)?;
    let rows = rows_of(&Sparse::prune(&rows, DIM, kept)?)?;
    for (id, row) in (0..).zip(rows.chunks_exact(DIM)) {
        training.learner.table.row_mut(0, id).copy_from_slice(row);
    }
    let is_zero = |id: u64, j: usize| rows[id as usize * DIM + j] == 0.0;
    let mut best = None;
    for epoch in WARM_UP + SEARCHED_EPOCHS..EPOCHS {
        for batch in shuffled(&data.train, seed, epoch).chunks(BATCH) {
            training.step(data, batch);
            for &id in batch.iter().flat_map(|&row| data.row(row)) {
                let row = training.learner.table.row_mut(0, id).iter_mut().enumerate();
                row.filter(|(j, _)| is_zero(id, *j)).for_each(|(_, value)| *value = 0.0);
            }
        }
        let table = Sparse::prune(&rows_of(&*training.learner.table)?, DIM, kept)?;
        if is_over(&mut best, table, &training.model, data) {
            break;
        }
    }
    best.context("no epoch after the search")
}
