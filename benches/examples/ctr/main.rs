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

use data::Data;
use learner::Parameters;
use methods::{FITTED, TRAINED};
use model::{Kind, Model, Trained};
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
    let plain = data.ids * DIM as u64 * 4;
    Bench { kind, data: &data, seeds: arg(2, "3").parse()?, only: arg(3, ""), plain }.run()
}

/// A model of each method on data.
struct Bench<'a> {
    kind: Kind,
    data: &'a Data,
    seeds: u64,
    /// Methods run whose names begin so.
    only: String,
    /// Bytes of plain rows.
    plain: u64,
}

impl Bench<'_> {
    fn run(&self) -> Result<()> {
        let Self { data, plain, .. } = *self;
        println!("{}: {} ids, {} fields, {}", data.name, data.ids, data.fields.len(), data.sizes());
        let (auc, loss, rare) = ("AUC", "log-loss", "AUC, rare");
        println!("{:<NAME_WIDTH$}{:>6}{:>10}  {auc:<18}{loss:<18}{rare:<18}", "method", "x", "bytes");
        let whole = |seed, rate| {
            let table = Hash::new(data.ids, DIM, plain, FIRST_SCALE, seed)?;
            Ok(model::fit(self.kind, data, Parameters::new(table, rate)?, rate, seed))
        };
        let rate = best(RATES, |rate| Ok(whole(0, rate)?.valid))?;
        let seeds = (0..self.seeds).into_par_iter();
        let originals: Vec<Trained> = seeds.map(|seed| whole(seed, rate)).collect::<Result<_>>()?;
        let scores: Vec<Score> = originals.iter().map(|one| self.score(&*one.table, &one.model)).collect();
        print!("{}", line("f32", plain, plain, &scores));
        self.fitted(&originals);
        self.trained(rate);
        self.searched(rate);
        Ok(())
    }

    fn is_wanted(&self, name: &str) -> bool {
        name.starts_with(&self.only)
    }

    fn score(&self, table: &dyn Table, model: &Model) -> Score {
        Score::of(model.predict(self.data, table, &self.data.test), self.data)
    }

    /// Methods fitted to the rows of models that were trained without any.
    fn fitted(&self, originals: &[Trained]) {
        for method in FITTED.iter().filter(|method| self.is_wanted(method.name)) {
            for ratio in RATIOS {
                let tables = originals.par_iter().enumerate().map(|(seed, one)| {
                    let fitted = (method.fit)(self.data, &*one.table, self.plain / ratio, seed as u64)?;
                    Ok((self.score(&*fitted, &one.model), fitted.bytes().total()))
                });
                print!("{}", report(method.name, ratio, self.plain, tables.collect()));
            }
        }
    }

    /// Methods trained as they are. `usual` is the rate of plain rows.
    fn trained(&self, usual: f32) {
        let Self { kind, data, plain, .. } = *self;
        for method in TRAINED.iter().filter(|method| self.is_wanted(method.name)) {
            let new = |ratio: u64, rate, seed| (method.new)(data, plain / ratio, rate, seed);
            let chosen = [10, 5, 2].into_iter().find(|&ratio| new(ratio, usual, 0).is_ok()).unwrap_or(2);
            let valid = |rate| Ok(model::fit(kind, data, new(chosen, rate, 0)?, rate, 0).valid);
            let rate = best(RATES, valid).unwrap_or_else(|error| {
                eprintln!("{}: the rate is that of plain rows, for {error}", method.name);
                usual
            });
            for ratio in RATIOS {
                let runs = (0..self.seeds).into_par_iter().map(|seed| {
                    let trained = model::fit(kind, data, new(ratio, rate, seed)?, rate, seed);
                    Ok((self.score(&*trained.table, &trained.model), trained.table.bytes().total()))
                });
                print!("{}", report(method.name, ratio, plain, runs.collect()));
            }
        }
    }

    /// What searches find, at the rate of plain rows.
    fn searched(&self, rate: f32) {
        for (name, search) in SEARCHED.iter().filter(|(name, _)| self.is_wanted(name)) {
            for ratio in RATIOS {
                let runs = (0..self.seeds).into_par_iter().map(|seed| {
                    let found = search(self.kind, self.data, self.plain / ratio, rate, seed)?;
                    Ok((self.score(&*found.table, &found.model), found.table.bytes().total()))
                });
                print!("{}", report(name, ratio, self.plain, runs.collect()));
            }
        }
    }
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
