//! Runs the end-to-end scenarios and holds them against their tolerances.
//!
//! Recall, reads and bytes per query are bounds: outside of them the run fails. Times are only shown.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use nearline_benches::measure::Measured;
use nearline_benches::scenario::Scenario;
use nearline_benches::tolerance::{Bound, Tolerances};
use nearline_benches::{data, device, measure, report};
use nearline_storage::{IoMode, OsDisk};

const USAGE: &str = "\
nearline-benches run [--json | --suggest] [NAME...]
    runs the scenarios whose names begin so (all of them without a name)
    --json     one object a line instead of a table
    --suggest  print new bounds instead, and hold against none
nearline-benches io [FOLDER | FILE]
    says how FOLDER (or the temporary folder) is read; of FILE, how many random pages a second";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run", rest @ ..] => run(&Options::parse(rest)?),
        ["io"] => io(&std::env::temp_dir()),
        ["io", folder] => io(Path::new(folder)),
        _ => {
            eprintln!("{USAGE}");
            Ok(ExitCode::from(2))
        }
    }
}

fn io(path: &Path) -> Result<ExitCode> {
    if path.is_file() {
        for depth in [1, 16, 64, 256] {
            println!("{depth:>3} at a time: {:>8.0} pages a second", device::reads_a_second(path, depth)?);
        }
    } else {
        println!("{}", OsDisk::new(path, IoMode::from_env())?.io_mode());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is printed of each measurement.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Output {
    #[default]
    Table,
    Json,
    Bounds,
}

#[derive(Default)]
struct Options {
    output: Output,
    names: Vec<String>,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        for argument in arguments {
            match *argument {
                "--json" => options.output = Output::Json,
                "--suggest" => options.output = Output::Bounds,
                flag if flag.starts_with('-') => bail!("unknown option {flag}\n{USAGE}"),
                name => options.names.push(name.to_owned()),
            }
        }
        Ok(options)
    }
}

fn run(options: &Options) -> Result<ExitCode> {
    let home = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let scenarios = Scenario::read_all(&home.join("scenarios"), &options.names)?;
    let tolerances = Tolerances::read(&home.join("tolerances.toml"))?;
    let mut complaints = Vec::new();
    if options.output == Output::Table {
        println!("{}", report::head());
    }
    for scenario in &scenarios {
        for measured in run_one(scenario)? {
            match options.output {
                Output::Table => println!("{}", report::row(&measured)),
                Output::Json => println!("{}", report::json(&measured)),
                Output::Bounds => println!("{}", Bound::around(&measured).to_toml()),
            }
            complaints.extend(tolerances.complaints(&measured));
        }
    }
    if options.output == Output::Bounds {
        return Ok(ExitCode::SUCCESS);
    }
    complaints.iter().for_each(|complaint| eprintln!("out of bounds: {complaint}"));
    Ok(if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything of one scenario, in a folder that is gone afterwards.
fn run_one(scenario: &Scenario) -> Result<Vec<Measured>> {
    let folder = tempfile::tempdir()?;
    let data = data::prepare(&scenario.data, scenario.search.k, folder.path())?;
    measure::run(scenario, &data, &folder.path().join("index"))
}
