//! `nearline build`: build an index from a file of vectors.

use std::path::{Path, PathBuf};
use std::time::Instant;

use nearline::{BuildOptions, BuildReport, CopyRule, Database, IdSource, IndexError, Plan, VectorSource};
use serde_json::{Value, json};

use crate::exit::{self, Exit};
use crate::progress::{Mode, Reporter};
use crate::size::{self, Size};
use crate::source::{Ids, Vectors};
use crate::table::Table;
use crate::{args, interrupt, machine, print};

/// What the program takes besides the budget, at most.
const PROGRAM_BYTES: u64 = 64 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Vectors: fvecs, bvecs, fbin, f16bin, u8bin, i8bin or npy, each also with .gz
    #[arg(long)]
    input: PathBuf,
    /// Folder of the index: new, or with --force an index to replace
    #[arg(long)]
    output: PathBuf,
    /// How distances are measured
    #[arg(long, value_enum)]
    metric: args::Metric,
    /// Memory the build may use, besides up to 64 MiB for the program itself
    #[arg(long, default_value = "1GiB")]
    memory: Size,
    /// Threads, 0 for one a core; the files do not depend on it
    #[arg(long, default_value_t = 0, value_parser = args::threads)]
    threads: usize,
    /// Decides every random choice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What posting lists hold: auto, raw, or rabitq:BITS for 1 to 8 bits a dimension; with ,no-rerank behind it the
    /// index keeps no raw vectors
    #[arg(long, default_value = "auto")]
    codec: args::Codec,
    /// Lists a vector is in at most [default: 2, raw: 4]
    #[arg(long)]
    replicas: Option<usize>,
    /// Which lists get copies: rng, soar or soar:LAMBDA
    #[arg(long, default_value = "soar", value_parser = args::copy_rule)]
    copies: CopyRule,
    /// Vectors per list, on average [default: what fills two pages, raw: 8]
    #[arg(long)]
    list_vectors: Option<usize>,
    /// File with the id of each vector, if it is not the row number: ibin, i64bin, ivecs or npy
    #[arg(long)]
    ids: Option<PathBuf>,
    /// Queries like those the index will see; without them rows of the input stand in
    #[arg(long)]
    calibration_queries: Option<PathBuf>,
    /// How the disk is read [default: NEARLINE_IO, or auto]
    #[arg(long, value_enum)]
    io: Option<args::Io>,
    /// Only print what the build will need, and fail if that is too much
    #[arg(long)]
    plan: bool,
    /// Go on with an interrupted build
    #[arg(long)]
    resume: bool,
    /// Replace an index or an interrupted build
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

/// The files a build reads.
struct Inputs {
    vectors: Vectors,
    ids: Option<Ids>,
    calibration_queries: Option<Vectors>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::gently()?;
    let inputs = Inputs {
        vectors: Vectors::open(&args.input)?,
        ids: args.ids.as_deref().map(Ids::open).transpose()?,
        calibration_queries: args.calibration_queries.as_deref().map(Vectors::open).transpose()?,
    };
    if Database::is_in(&args.output) {
        let (dir, fix) = (args.output.display(), "choose another --output; nearline import adds points");
        return Err(exit::bad_input(format!(
            "{dir}: found a database, expected a new folder or an index: {fix}"
        )));
    }
    let options = options(args, &inputs)?;
    let plan = nearline::plan(&inputs.vectors, &options)?;
    if args.plan {
        show_plan(args, &plan)?;
    }
    check_room(&args.output, &plan, args.resume)?;
    if args.plan {
        return Ok(());
    }
    let started = Instant::now();
    let report = build(&args.output, &inputs.vectors, &options, args.progress)?;
    show_report(args, &report, started.elapsed().as_secs_f64())
}

fn options<'a>(args: &Args, inputs: &'a Inputs) -> anyhow::Result<BuildOptions<'a>> {
    Ok(BuildOptions {
        metric: args.metric.into(),
        codec: args.codec.codec,
        rerank: args.codec.rerank,
        rows_outside: false,
        calibration_rows: BuildOptions::default().calibration_rows,
        memory_bytes: args.memory.0,
        threads: args.threads,
        seed: args.seed,
        replicas: args.replicas,
        copy_rule: args.copies,
        list_vectors: args.list_vectors,
        resume: args.resume,
        force: args.force,
        io: args::io_mode(args.io)?,
        ids: inputs.ids.as_ref().map(|ids| ids as &dyn IdSource),
        calibration_queries: inputs.calibration_queries.as_ref().map(|queries| queries as &dyn VectorSource),
    })
}

/// Builds, showing progress. The error of an interrupted build says how to go on.
pub(crate) fn build(
    dir: &Path,
    source: &dyn VectorSource,
    options: &BuildOptions<'_>,
    progress: Mode,
) -> anyhow::Result<BuildReport> {
    let reporter = Reporter::new(progress);
    match nearline::build(dir, source, options, &reporter) {
        Ok(report) => {
            reporter.finish();
            Ok(report)
        }
        Err(IndexError::Interrupted) => {
            let dir = dir.display();
            Err(exit::fail(Exit::Interrupted, format!("{dir}: interrupted: continue with --resume")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Fails unless the disk has room for the largest moment of a build.
pub(crate) fn check_room(dir: &Path, plan: &Plan, resume: bool) -> anyhow::Result<()> {
    let there = if resume { machine::folder_bytes(dir) } else { 0 };
    let needed = peak_disk(plan).saturating_sub(there);
    match machine::free_disk_bytes(dir) {
        Some(free) if free < needed => {
            let (dir, free, needed) = (dir.display(), Size(free), Size(needed));
            let fix = "free some, or choose another --output";
            Err(exit::fail(
                Exit::Budget,
                format!("{dir}: found {free} of free disk, expected {needed}: {fix}"),
            ))
        }
        _ => Ok(()),
    }
}

fn show_plan(args: &Args, plan: &Plan) -> anyhow::Result<()> {
    let free = machine::free_disk_bytes(&args.output);
    if args.json {
        return print::json(&json!({ "plan": plan_document(plan), "free_disk_bytes": free }));
    }
    print::line(shape(plan.rows, plan.lists))?;
    print::line(comparison(plan, None))?;
    match free {
        Some(free) => print::line(format!("{} of disk are free", Size(free))),
        None => Ok(()),
    }
}

fn show_report(args: &Args, report: &BuildReport, wall_s: f64) -> anyhow::Result<()> {
    let real = Real::of(report, wall_s);
    if args.json {
        return print::json(&json!({ "plan": plan_document(&report.plan), "real": real.document(report) }));
    }
    print::line(shape(report.rows, report.lists))?;
    print::line(comparison(&report.plan, Some(&real)))?;
    let stages = report.seconds.iter().map(|(stage, s)| format!("{stage} {}", size::seconds(*s)));
    print::line(format!("stages: {}", stages.collect::<Vec<_>>().join(", ")))?;
    let (entries, weighted) = (size::count(report.entries), report.list_entries_weighted);
    print::line(format!("{entries} entries, {weighted:.1} in a list, weighted by size"))
}

fn shape(rows: u64, lists: u64) -> String {
    format!("{} vectors in {} lists", size::count(rows), size::count(lists))
}

/// What a build really took.
pub(crate) struct Real {
    pub(crate) peak_ram_bytes: u64,
    temp_bytes: u64,
    pub(crate) disk_bytes: u64,
    read_bytes: u64,
    written_bytes: u64,
    pub(crate) seconds: f64,
}

impl Real {
    pub(crate) fn of(report: &BuildReport, seconds: f64) -> Self {
        let io = machine::process_io();
        Self {
            peak_ram_bytes: machine::peak_rss_bytes(),
            temp_bytes: report.temp_bytes,
            disk_bytes: report.disk_bytes,
            read_bytes: io.read_bytes.max(io.read_calls_bytes),
            written_bytes: io.write_bytes.max(io.write_calls_bytes),
            seconds,
        }
    }

    fn document(&self, report: &BuildReport) -> Value {
        let io = machine::process_io();
        let stages: serde_json::Map<_, _> =
            report.seconds.iter().map(|(stage, s)| ((*stage).to_owned(), json!(s))).collect();
        json!({
            "peak_ram_bytes": self.peak_ram_bytes, "temp_bytes": self.temp_bytes, "disk_bytes": self.disk_bytes,
            "read_bytes": self.read_bytes, "written_bytes": self.written_bytes, "seconds": self.seconds,
            "kernel_read_bytes": io.read_bytes, "kernel_written_bytes": io.write_bytes, "stage_seconds": stages,
            "rows": report.rows, "lists": report.lists, "entries": report.entries,
            "list_entries_weighted": report.list_entries_weighted,
        })
    }
}

fn plan_document(plan: &Plan) -> Value {
    json!({
        "rows": plan.rows, "lists": plan.lists, "nodes": plan.nodes, "list_cap": plan.list_cap,
        "sample_rows": plan.sample_rows, "partitions": plan.partitions,
        "peak_ram_bytes": peak_ram(plan), "temp_bytes": plan.temp_bytes, "peak_disk_bytes": peak_disk(plan), "disk_bytes": plan.disk_bytes,
        "read_bytes": plan.read_bytes, "written_bytes": plan.written_bytes,
        "seconds_min": plan.seconds.0, "seconds_max": plan.seconds.1,
    })
}

/// The budget counts what the build holds; the process is the program, too.
fn peak_ram(plan: &Plan) -> u64 {
    plan.memory_bytes + PROGRAM_BYTES
}

/// At worst the index and the temporary files lie side by side.
fn peak_disk(plan: &Plan) -> u64 {
    plan.temp_bytes + plan.disk_bytes
}

/// Predicted and, once it is known, real, side by side.
fn comparison(plan: &Plan, real: Option<&Real>) -> Table {
    let mut table = match real {
        Some(_) => Table::new(["", "predicted", "real"]),
        None => Table::new(["", "predicted"]),
    };
    let mut row = |name: &str, predicted: String, of_real: fn(&Real) -> String| match real {
        Some(real) => table.row([name.into(), predicted, of_real(real)]),
        None => table.row([name.into(), predicted]),
    };
    let bytes = |bytes| Size(bytes).to_string();
    row("peak RAM", bytes(peak_ram(plan)), |real| Size(real.peak_ram_bytes).to_string());
    row("temporary disk", bytes(plan.temp_bytes), |real| Size(real.temp_bytes).to_string());
    row("index on disk", bytes(plan.disk_bytes), |real| Size(real.disk_bytes).to_string());
    row("read", bytes(plan.read_bytes), |real| Size(real.read_bytes).to_string());
    row("written", bytes(plan.written_bytes), |real| Size(real.written_bytes).to_string());
    let (from, to) = (size::seconds(plan.seconds.0), size::seconds(plan.seconds.1));
    row("time", format!("{from} to {to}"), |real| size::seconds(real.seconds));
    table
}
