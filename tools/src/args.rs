//! The command line: subcommands, and the argument types they share. Each subcommand's own arguments are in its file.

use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};
use nearline::{CopyRule, IoMode, Residency};

use crate::{
    behaviors, build, calibrate, collections, compact, demo, exit, export, generate, groundtruth, import,
    inspect, query, recall, serve, snapshot, tables, verify,
};

/// Nearline: vector search on disk.
#[derive(Parser)]
#[command(name = "nearline", version, about, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "Exit codes: 0 ok, 1 internal, 2 usage, 3 bad input, 4 budget of memory or disk, \
    5 corrupt or no index, 6 below --min-recall, 130 interrupted and resumable.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Generate a realistic set, build an index, search it and print a table
    Demo(demo::Args),
    /// Write a file of realistic vectors, and queries for them
    Generate(generate::Args),
    /// Find the exact nearest neighbours of queries by brute force
    Groundtruth(groundtruth::Args),
    /// Build an index from a file of vectors
    Build(build::Args),
    /// Search an index and write the ids found
    Query(query::Args),
    /// Measure recall, latency and reads of an index
    Recall(recall::Args),
    /// Show what an index is
    Inspect(inspect::Args),
    /// Read all of an index or a database and name everything that is damaged
    Verify(verify::Args),
    /// Write points from files of vectors, ids and payloads into a collection
    Import(import::Args),
    /// Write all points of a collection into such files
    Export(export::Args),
    /// List the collections of a database
    Collections(collections::Args),
    /// Keep a collection as it is, under a name, and bring it back
    Snapshot(snapshot::Args),
    /// Rewrite a collection without what died
    Compact(compact::Args),
    /// Measure with real questions how widely a collection must be searched, and keep them
    Calibrate(calibrate::Args),
    /// Make, ask and convert embedding tables
    Table(tables::Args),
    /// What users did, from logs into a behaviour space and out of it
    Behaviors(behaviors::Args),
    /// Answer over HTTP, from a database that is made if there is none
    Serve(serve::Args),
}

/// How distances are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Metric {
    /// Squared Euclidean distance
    L2,
    /// Inner product
    Ip,
    /// Cosine distance
    Cosine,
    /// Sum of absolute differences: for collections only
    Manhattan,
}

impl From<Metric> for nearline::Metric {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::L2 => Self::L2,
            Metric::Ip => Self::InnerProduct,
            Metric::Cosine => Self::Cosine,
            Metric::Manhattan => Self::Manhattan,
        }
    }
}

impl TryFrom<Metric> for nearline_datasets::Metric {
    type Error = anyhow::Error;

    fn try_from(metric: Metric) -> anyhow::Result<Self> {
        match metric {
            Metric::L2 => Ok(Self::L2),
            Metric::Ip => Ok(Self::InnerProduct),
            Metric::Cosine => Ok(Self::Cosine),
            Metric::Manhattan => Err(exit::usage("--metric: found manhattan; expected l2, ip or cosine")),
        }
    }
}

/// How the disk is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Io {
    /// io_uring where it works, threads otherwise
    Auto,
    /// io_uring
    Uring,
    /// A pool of threads
    Pread,
}

/// What of the lists is held in RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pin {
    /// What makes searches cheapest within --memory; nothing without it
    #[default]
    Auto,
    /// Nothing: all lists are read from the disk
    None,
    /// The lists most often probed, whole
    Lists,
    /// The signs of all lists, and as many of the rest as fit
    Signs,
    /// All codes
    Codes,
}

impl From<Pin> for nearline::Pin {
    fn from(pin: Pin) -> Self {
        match pin {
            Pin::Auto => Self::Auto,
            Pin::None => Self::Nothing,
            Pin::Lists => Self::Residency(Residency::Lists),
            Pin::Signs => Self::Residency(Residency::Signs),
            Pin::Codes => Self::Residency(Residency::Codes),
        }
    }
}

/// Which candidates are compared with the raw vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rerank {
    /// Those the recall needs
    #[default]
    Auto,
    /// All that may be in the answer, so that its distances are exact
    Exact,
    /// None
    None,
}

impl From<Rerank> for nearline::Rerank {
    fn from(rerank: Rerank) -> Self {
        match rerank {
            Rerank::Auto => Self::Calibrated,
            Rerank::Exact => Self::Exact,
            Rerank::None => Self::Never,
        }
    }
}

/// What posting lists hold: `auto`, `raw` or `rabitq:BITS`, the first and the last also with `,no-rerank`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codec {
    pub(crate) codec: Option<nearline::Codec>,
    pub(crate) rerank: bool,
}

impl FromStr for Codec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rerank) = match text.strip_suffix(",no-rerank") {
            Some(name) => (name, false),
            None => (text, true),
        };
        let bits = name.strip_prefix("rabitq:").and_then(|bits| bits.parse::<u8>().ok());
        let codec = match (name, bits) {
            ("auto", _) => None,
            ("raw", _) => Some(nearline::Codec::Raw),
            (_, Some(bits)) if (1..=8).contains(&bits) => Some(nearline::Codec::Rabitq { bits }),
            _ => {
                return Err(
                    "expected auto, raw or rabitq:1 to rabitq:8, perhaps with ,no-rerank behind".into()
                );
            }
        };
        Ok(Self { codec, rerank })
    }
}

/// Which lists get copies: `rng`, `soar` or `soar:LAMBDA`.
pub(crate) fn copy_rule(text: &str) -> Result<CopyRule, String> {
    let lambda = text.strip_prefix("soar:").and_then(|lambda| lambda.parse::<f32>().ok());
    match (text, lambda) {
        ("rng", _) => Ok(CopyRule::Rng),
        ("soar", _) => Ok(CopyRule::default()),
        (_, Some(lambda)) if lambda >= 0.0 && lambda.is_finite() => Ok(CopyRule::Soar { lambda }),
        _ => Err("expected rng, soar, or soar: and a number from 0".into()),
    }
}

/// What `--io` says or, without it, the environment variable `NEARLINE_IO`.
pub(crate) fn io_mode(io: Option<Io>) -> anyhow::Result<IoMode> {
    let from_environment = || match std::env::var("NEARLINE_IO") {
        Ok(name) if !name.is_empty() => Io::from_str(&name, false)
            .map_err(|_| exit::usage(format!("NEARLINE_IO: found {name:?}, expected auto, uring or pread"))),
        _ => Ok(Io::Auto),
    };
    Ok(match io.map_or_else(from_environment, Ok)? {
        Io::Auto => IoMode::Auto,
        Io::Uring => IoMode::Uring,
        Io::Pread => IoMode::Pread,
    })
}

/// A recall to reach, above 0 and up to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct Recall(pub(crate) f32);

impl FromStr for Recall {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f32>() {
            Ok(recall) if recall > 0.0 && recall <= 1.0 => Ok(Self(recall)),
            _ => Err("expected a number above 0, up to 1".into()),
        }
    }
}

/// Lists to probe: a number, or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nprobe {
    Lists(usize),
    All,
}

impl FromStr for Nprobe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse::<usize>()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(lists)) if lists > 0 => Ok(Self::Lists(lists)),
            _ => Err("expected a number of lists from 1, or all".into()),
        }
    }
}

/// A whole number from 1.
pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number from 1".into()),
    }
}

/// A number of threads, 0 for one a core.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if number <= THREADS_MAX => Ok(number),
        _ => Err(format!("expected 1 to {THREADS_MAX} threads, or 0 for one a core")),
    }
}

/// More than any machine has cores.
const THREADS_MAX: usize = 4096;

/// What clap has to say about wrong arguments, as one line.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let joined = lines.collect::<Vec<_>>().join(" ");
    format!("{} (see --help)", joined.strip_prefix("error: ").unwrap_or(&joined))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_arguments_are_one_line() {
        for wrong in [
            vec!["nearline", "build"],
            vec!["nearline", "bild"],
            vec!["nearline", "query", "--index", "x", "--queries", "y", "--output", "z", "--k", "0"],
            vec!["nearline", "recall", "--nprobe", "none"],
        ] {
            let Err(error) = Cli::try_parse_from(wrong) else { panic!("should be refused") };
            let line = one_line(&error);
            assert!(!line.contains('\n') && !line.contains("Usage") && !line.starts_with("error"), "{line}");
        }
    }
}
