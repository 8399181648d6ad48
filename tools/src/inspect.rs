//! `nearline inspect`: show what an index is.

use std::path::PathBuf;

use nearline::{Index, Info, OpenOptions};
use serde_json::{Value, json};

use crate::size::{self, Size};
use crate::table::Table;
use crate::{args, interrupt, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the index
    index: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let options = OpenOptions { memory_bytes: None, threads: 1, io: args::io_mode(None)? };
    let index = Index::open(&args.index, &options)?;
    let info = index.info();
    if args.json {
        return print::json(&document(&index));
    }
    print::line(format!("{}\n", args.index.display()))?;
    print::line(summary(&index))?;
    print::line(format!("\n{}", files(info)))?;
    print::line(format!("\ncalibrated on {}\n{}", calibrated_on(info), calibration(info)))
}

fn summary(index: &Index) -> Table {
    let info = index.info();
    let mut table =
        Table::new(["vectors", &format!("{} x {} {}", size::count(info.rows), info.dim, info.element)]);
    let mut row = |name: &str, value: String| table.row([name.into(), value]);
    row("metric", info.metric.name().into());
    row("codec", info.codec.name().into());
    row("lists", size::count(info.lists));
    row("router nodes", size::count(info.nodes));
    row("entries", size::count(info.entries));
    row("entries per vector", format!("{:.2}", info.entries as f64 / info.rows.max(1) as f64));
    row("entries per list", format!("{:.1}", info.entries as f64 / info.lists.max(1) as f64));
    row("the same, weighted", format!("{:.1}", info.list_entries_weighted));
    row("longest list", size::count(info.list_entries_max));
    row("copies at most", info.replicas.to_string());
    row("seed", info.seed.to_string());
    row("ids", if info.has_ids { "given" } else { "row numbers" }.into());
    row("disk", Size(info.disk_bytes).to_string());
    row("RAM while open", Size(info.ram_bytes).to_string());
    row("I/O", index.io().to_owned());
    table
}

fn files(info: &Info) -> Table {
    let mut table = Table::new(["file", "bytes"]);
    for file in &info.files {
        table.row([file.name.clone(), size::count(file.bytes)]);
    }
    table
}

fn calibration(info: &Info) -> Table {
    let mut table = Table::new([
        "k",
        "target",
        "recall",
        "nprobe",
        "ratio",
        "breadth",
        "lists",
        "bytes",
        "router recall",
    ]);
    for s in &info.calibration.settings {
        table.row([
            s.k.to_string(),
            s.target.to_string(),
            format!("{:.4}", s.recall),
            s.nprobe.to_string(),
            format!("{:.3}", s.ratio),
            s.breadth.to_string(),
            format!("{:.1}", s.lists),
            Size(s.bytes as u64).to_string(),
            format!("{:.4}", s.router_recall),
        ]);
    }
    table
}

fn calibrated_on(info: &Info) -> String {
    let from = if info.calibration.from_queries { "queries given" } else { "vectors of the index itself" };
    format!("{} {from}", size::count(u64::from(info.calibration.queries)))
}

fn document(index: &Index) -> Value {
    let info = index.info();
    let files: Vec<Value> = info.files.iter().map(|f| json!({"name": f.name, "bytes": f.bytes})).collect();
    let setting = |s: &nearline::Setting| {
        json!({
            "k": s.k, "target_recall": s.target, "nprobe": s.nprobe, "ratio": s.ratio, "breadth": s.breadth,
            "recall": s.recall, "lists_per_query": s.lists, "bytes_per_query": s.bytes,
            "router_recall": s.router_recall,
        })
    };
    json!({
        "element": info.element.name(), "dim": info.dim, "metric": info.metric.name(), "codec": info.codec.name(),
        "rows": info.rows, "lists": info.lists, "nodes": info.nodes, "entries": info.entries,
        "list_entries_max": info.list_entries_max, "list_entries_weighted": info.list_entries_weighted,
        "replicas": info.replicas, "seed": info.seed, "disk_bytes": info.disk_bytes, "ram_bytes": info.ram_bytes,
        "has_ids": info.has_ids, "io": index.io(), "files": files,
        "calibration": info.calibration.settings.iter().map(setting).collect::<Vec<_>>(),
        "calibrated_on": calibrated_on(info),
    })
}
