//! What compressed tables cost a click model: AUC and log-loss of every method at 2 to 100 times fewer bytes.
//!
//! ```text
//! NEARLINE_DATASETS=FOLDER cargo run --release -p nearline-benches --example ctr -- [frappe|ml-100k] [fm|dlrm] [SEEDS] [METHOD]
//! cargo run --release -p nearline-benches --example ctr -- plot < PRINTED > PICTURE.svg
//! cargo run --release -p nearline-benches --example ctr -- table < PRINTED > TABLE.md
//! cargo test -p nearline-benches --example ctr
//! ```
//!
//! A table of 16 values a row is the only thing compressed, and all of it is counted: codes, scales, codebooks, remaps. The
//! models have no dense features and no weight of their own for an id. Rows are split by a hash (frappe) or by time
//! (ml-100k) into training, validation and test. The number of epochs and the learning rate are chosen on validation: the rate
//! once a method, at 10 times fewer bytes or as near to that as it goes; searches have the rate of plain rows. The test rows
//! are scored once. `rare` is the fifth of the test rows whose rarest id was seen least in training. With METHOD only those
//! methods run whose names begin so.

mod data;
mod learner;
mod methods;
mod model;
mod plot;
mod printed;
mod score;
mod search;

use anyhow::{Result, bail};
use nearline::embedding::{Hash, Table};
use rayon::prelude::*;

use learner::Parameters;
use methods::{FITTED, TRAINED};
use model::Kind;
use printed::Printed;
use score::{Score, Summary};
use search::SEARCHED;

/// Values of a row.
const DIM: usize = 16;
const RATIOS: [u64; 6] = [2, 5, 10, 20, 50, 100];
/// Learning rates that are tried, once a method.
const RATES: [f32; 2] = [0.003, 0.01];
const FIRST_SCALE: f32 = 0.05;
/// Columns that the name of a method has in what is printed.
const NAME_WIDTH: usize = 24;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |at: usize, usual: &'static str| args.get(at).map_or(usual, String::as_str).to_owned();
    let data = match arg(0, "frappe").as_str() {
        verb @ ("plot" | "table") => {
            let printed = Printed::read(&std::io::read_to_string(std::io::stdin())?)?;
            print!("{}", if verb == "plot" { plot::svg(&printed)? } else { printed.table()? });
            return Ok(());
        }
        "frappe" => data::frappe()?,
        "ml-100k" => data::ml_100k()?,
        other => bail!("{other}: no such set; frappe or ml-100k"),
    };
    let kind = match arg(1, "fm").as_str() {
        "fm" => Kind::FactorizationMachine,
        "dlrm" => Kind::Interactions,
        other => bail!("{other}: no such model; fm or dlrm"),
    };
    let (seeds, only): (u64, String) = (arg(2, "3").parse()?, arg(3, ""));
    println!("{}: {} ids, {} fields, {}", data.name, data.ids, data.fields.len(), data.sizes());
    println!(
        "{:<NAME_WIDTH$}{:>6}{:>10}  {:<18}{:<18}{:<18}",
        "method", "x", "bytes", "AUC", "log-loss", "AUC, rare"
    );
    let plain = data.ids * DIM as u64 * 4;
    let whole = |seed, rate| {
        let table = Hash::new(data.ids, DIM, plain, FIRST_SCALE, seed)?;
        let trained = model::fit(kind, &data, Parameters::new(table, rate)?, rate, seed);
        Ok::<_, anyhow::Error>((trained.table, trained.model, trained.valid))
    };
    let rate = best(RATES, |rate| Ok(whole(0, rate)?.2))?;
    let originals: Vec<_> =
        (0..seeds).into_par_iter().map(|seed| whole(seed, rate)).collect::<Result<_>>()?;
    let score =
        |table: &dyn Table, model: &model::Model| Score::of(model.predict(&data, table, &data.test), &data);
    let plain_scores: Vec<Score> = originals.iter().map(|(table, model, _)| score(&**table, model)).collect();
    print!("{}", line("f32", plain, plain, &plain_scores));
    for method in FITTED.iter().filter(|method| method.name.starts_with(&only)) {
        for ratio in RATIOS {
            let tables = originals.par_iter().enumerate().map(|(seed, (table, model, _))| {
                let fitted = (method.fit)(&data, &**table, plain / ratio, seed as u64)?;
                Ok((score(&*fitted, model), fitted.bytes().total()))
            });
            print!("{}", report(method.name, ratio, plain, tables.collect()));
        }
    }
    for method in TRAINED.iter().filter(|method| method.name.starts_with(&only)) {
        let new = |ratio: u64, rate, seed| (method.new)(&data, plain / ratio, rate, seed);
        let chosen = [10, 5, 2].into_iter().find(|&ratio| new(ratio, rate, 0).is_ok()).unwrap_or(2);
        let valid = |rate| Ok(model::fit(kind, &data, new(chosen, rate, 0)?, rate, 0).valid);
        let rate = best(RATES, valid).unwrap_or_else(|error| {
            eprintln!("{}: the rate is that of plain rows, for {error}", method.name);
            rate
        });
        for ratio in RATIOS {
            let runs = (0..seeds).into_par_iter().map(|seed| {
                let trained = model::fit(kind, &data, new(ratio, rate, seed)?, rate, seed);
                Ok((score(&*trained.table, &trained.model), trained.table.bytes().total()))
            });
            print!("{}", report(method.name, ratio, plain, runs.collect()));
        }
    }
    for (name, search) in SEARCHED.iter().filter(|(name, _)| name.starts_with(&only)) {
        for ratio in RATIOS {
            let runs = (0..seeds).into_par_iter().map(|seed| {
                let found = search(kind, &data, plain / ratio, rate, seed)?;
                Ok((score(&*found.table, &found.model), found.table.bytes().total()))
            });
            print!("{}", report(name, ratio, plain, runs.collect()));
        }
    }
    Ok(())
}

/// The rate with the least loss on validation.
fn best(rates: [f32; 2], valid: impl Fn(f32) -> Result<f64> + Sync) -> Result<f32> {
    let losses: Vec<f64> = rates.par_iter().map(|&rate| valid(rate)).collect::<Result<_>>()?;
    Ok(if losses[0] <= losses[1] { rates[0] } else { rates[1] })
}

fn report(name: &str, ratio: u64, plain: u64, runs: Result<Vec<(Score, u64)>>) -> String {
    match runs {
        Ok(runs) => {
            let scores: Vec<Score> = runs.iter().map(|run| run.0).collect();
            // Where seeds lead to tables of different sizes, the largest counts.
            let bytes = runs.iter().map(|run| run.1).max().unwrap_or(0);
            line(name, bytes, plain, &scores)
        }
        Err(error) => format!("{name:<NAME_WIDTH$}{ratio:>6}            {error}\n"),
    }
}

fn line(name: &str, bytes: u64, plain: u64, scores: &[Score]) -> String {
    let summary = |of: fn(&Score) -> f64| Summary::of(scores.iter().map(of)).to_string();
    format!(
        "{name:<NAME_WIDTH$}{:>6.1}{bytes:>10}  {:<18}{:<18}{:<18}\n",
        plain as f64 / bytes as f64,
        summary(|score| score.auc),
        summary(|score| score.loss),
        summary(|score| score.rare),
    )
}
