//! Searches for widths of fields: a supernet (AutoDim), thresholds and evolution (OptEmbed). What they find is trained from the
//! beginning.

use anyhow::{Context, Result, ensure};
use nearline::embedding::{
    Evolution, EvolutionRules, FitInput, Masked, Mixed, Supernet, SupernetRules, Thresholds, Train,
};

use super::{Found, SEARCHED_EPOCHS, WARM_UP, plain};
use crate::DIM;
use crate::data::Data;
use crate::learner::{Parameters, adam};
use crate::methods::{first_rows, rows_of};
use crate::model::{self, BATCH, Kind, Training, shuffled};

/// Widths to choose among: those of the paper, and one value. Chances move ten times as fast as in the comparison of the
/// methods, for there are few steps.
const WIDTHS: [usize; 5] = [1, 2, 4, 8, 16];
const CHANCE_RATE: f32 = 0.01;
/// The temperature falls from 1 by so much a step.
const COOLING: f32 = 5e-5;

/// How thresholds move; more rows are left out the more they are pulled, and validation says which is best. Pulls alone bring
/// a threshold to `ln(1 + rate·pull·steps)`: after the 1,900 steps of frappe to 0.02, 0.7 and 1.6. A row begins with a size
/// of 0.4 (16 values in ±0.05): the first leaves out nearly nothing, the second what was hardly seen, the third much more.
const THRESHOLD_RATE: f32 = 0.01;
const PULLS: [f32; 3] = [0.001, 0.05, 0.2];
const GENERATIONS: usize = 10;
const POPULATION: usize = 20;
const PARENTS: usize = 10;
const CHANCE: f64 = 0.1;

/// Trains what was found from the beginning.
fn retrain(kind: Kind, data: &Data, table: impl Train + 'static, rate: f32, seed: u64) -> Result<Found> {
    let trained = model::fit(kind, data, Parameters::new(table, rate)?, rate, seed);
    Ok(Found { table: trained.table, model: trained.model, valid: trained.valid, waited: 0 })
}

/// Rows and all projections learn from training data, after some epochs chances of widths from validation.
pub(super) fn auto_dim(kind: Kind, data: &Data, budget: u64, rate: f32, seed: u64) -> Result<Found> {
    let mut training = Training::new(kind, data, plain(data, rate, seed)?, rate, seed);
    let rules =
        SupernetRules { widths: WIDTHS.to_vec(), weights: adam(rate), chances: adam(CHANCE_RATE), seed };
    let mut net = Supernet::new(&data.fields, DIM, rules)?;
    // Refuses what the least widths do not fit into, before the work.
    net.widths(budget)?;
    for epoch in 0..WARM_UP + SEARCHED_EPOCHS {
        let valid = shuffled(&data.valid, seed, epoch);
        let mut of_chances = valid.chunks(BATCH).cycle();
        for batch in shuffled(&data.train, seed, epoch).chunks(BATCH) {
            let temperature = (1.0 - COOLING * training.steps as f32).max(0.01);
            net.draw(2 * training.steps, temperature)?;
            let (ids, rows) = training.rows(data, batch);
            let mut mixed = rows.clone();
            net.mix(&ids, &mut mixed)?;
            let (mut of_rows, of_weights) = training.model.gradients(data, batch, &mixed);
            net.step(&ids, &rows, &mut of_rows)?;
            training.move_by(&ids, &of_rows, &of_weights);
            if epoch >= WARM_UP {
                net.draw(2 * training.steps + 1, temperature)?;
                let batch = of_chances.next().context("no rows for validation")?;
                let (ids, rows) = training.rows(data, batch);
                let mut mixed = rows.clone();
                net.mix(&ids, &mut mixed)?;
                let (of_mixed, _) = training.model.gradients(data, batch, &mixed);
                net.step_chances(&ids, &rows, &of_mixed)?;
            }
        }
    }
    let first = first_rows(data, seed)?;
    let input = FitInput::new(&first, DIM, Some(&data.frequencies), budget, seed)?;
    let table = Mixed::fit_widths(&input, &data.fields, &net.widths(budget)?)?.with_bias();
    retrain(kind, data, table, rate, seed)
}

/// The best on validation of what thresholds find that are pulled less or more.
pub(super) fn opt_embed(kind: Kind, data: &Data, budget: u64, rate: f32, seed: u64) -> Result<Found> {
    let places = data.ids * 4;
    let least = places + data.fields.len() as u64 * 4;
    // Refused before the work.
    ensure!(budget >= least, "places of rows, a value a field: {least} bytes; at most {budget} are allowed");
    let most = (budget - places) / 4;
    let mut best: Option<Found> = None;
    let mut refused = None;
    for pull in PULLS {
        match pulled(kind, data, most, pull, rate, seed) {
            Ok(found) if best.as_ref().is_none_or(|best| found.valid < best.valid) => best = Some(found),
            Ok(_) => {}
            Err(error) => refused = Some(error),
        }
    }
    best.ok_or_else(|| refused.unwrap_or_else(|| anyhow::anyhow!("no pull was tried")))
}

fn rules(seed: u64) -> EvolutionRules {
    EvolutionRules { population: POPULATION, parents: PARENTS, chance: CHANCE, seed }
}

/// Rows learn to do with any widths, thresholds which of them matter; then widths of at most so many values evolve.
fn pulled(kind: Kind, data: &Data, most: u64, pull: f32, rate: f32, seed: u64) -> Result<Found> {
    let mut training = Training::new(kind, data, plain(data, rate, seed)?, rate, seed);
    let mut thresholds = Thresholds::new(&data.fields, DIM)?;
    for epoch in 0..WARM_UP + SEARCHED_EPOCHS {
        for batch in shuffled(&data.train, seed, epoch).chunks(BATCH) {
            let widths = thresholds.draw(training.steps, seed);
            let (ids, rows) = training.rows(data, batch);
            let mut masked = rows.clone();
            thresholds.mask(&ids, &widths, &mut masked)?;
            let (mut of_rows, of_weights) = training.model.gradients(data, batch, &masked);
            thresholds.step(&ids, &widths, &rows, &mut of_rows, THRESHOLD_RATE, pull)?;
            training.move_by(&ids, &of_rows, &of_weights);
        }
    }
    let rows = rows_of(&*training.learner.table)?;
    let mut evolution = Evolution::new(&thresholds.kept(&rows)?, DIM, most, rules(seed))?;
    let input = FitInput::new(&rows, DIM, None, u64::MAX, seed)?;
    for _ in 0..GENERATIONS {
        let loss = |widths: &Vec<usize>| {
            let table = Masked::import(&input, &data.fields, widths, thresholds.values())?;
            Ok(training.model.valid(data, &table))
        };
        let losses: Vec<f64> = evolution.population().iter().map(loss).collect::<Result<_>>()?;
        evolution.advance(&losses)?;
    }
    let (widths, _) = evolution.best().context("no generation")?;
    retrain(kind, data, from_the_beginning(data, &thresholds, &rows, widths, seed)?, rate, seed)
}

/// First rows where the search has kept any, zeros elsewhere.
fn from_the_beginning(
    data: &Data,
    thresholds: &Thresholds,
    searched: &[f32],
    widths: &[usize],
    seed: u64,
) -> Result<Masked> {
    let ids: Vec<u64> = (0..data.ids).collect();
    let mut kept = searched.to_vec();
    thresholds.mask(&ids, &vec![DIM; data.fields.len()], &mut kept)?;
    let mut first = first_rows(data, seed)?;
    for (first, kept) in first.chunks_mut(DIM).zip(kept.chunks(DIM)) {
        if kept.iter().all(|&x| x == 0.0) {
            first.fill(0.0);
        }
    }
    let input = FitInput::new(&first, DIM, None, u64::MAX, seed)?;
    Ok(Masked::import(&input, &data.fields, widths, &vec![0.0; data.fields.len()])?)
}
