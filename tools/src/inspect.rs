//! `nearline inspect`: show what an index is.

use std::path::PathBuf;

use nearline::{Index, Info, OpenOptions, Residency};
use serde_json::{Value, json};

use crate::size::{self, Size};
use crate::table::Table;
use crate::{args, interrupt, opened, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the index
    index: PathBuf,
    /// Memory a process that searches may use: shows what of the lists it would hold
    #[arg(long)]
    memory: Option<Size>,
    /// What of the lists is held in RAM within --memory
    #[arg(long, value_enum, default_value_t)]
    pin: args::Pin,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let options = OpenOptions {
        memory_bytes: args.memory.map(|memory| memory.0),
        threads: 1,
        io: args::io_mode(None)?,
        pin: args.pin.into(),
        cache_bytes: None,
    };
    let index = Index::open(&args.index, &options).map_err(|error| opened::not_opened(&args.index, error))?;
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
    row("codec", info.codec.to_string());
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
    row("rows for reranking", if info.has_rows { "kept" } else { "none" }.into());
    row("RAM for centroids and directory", Size(info.ram_bytes).to_string());
    row("held of the lists", pinned(info));
    row("cache for what is read", Size(info.cache_bytes).to_string());
    row("I/O", index.io().to_owned());
    table
}

/// What is held in RAM of the lists.
fn pinned(info: &Info) -> String {
    let pinned = info.pinned;
    let lists = format!("{} of {} lists", size::count(pinned.lists), size::count(info.lists));
    match (pinned.residency, pinned.lists) {
        (Residency::Lists, 0) => "nothing".into(),
        (Residency::Lists, _) => format!("{lists}, whole: {}", Size(pinned.bytes)),
        (Residency::Signs, _) => format!("signs, and all bits of {lists}: {}", Size(pinned.bytes)),
        (Residency::Codes, _) => format!("all codes: {}", Size(pinned.bytes)),
    }
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
        "held",
        "k",
        "target",
        "recall",
        "nprobe",
        "stop",
        "breadth",
        "depth",
        "width",
        "lists",
        "reranked",
        "bytes",
        "disk µs",
        "router recall",
    ]);
    for s in &info.calibration.settings {
        table.row([
            s.residency.name().into(),
            s.k.to_string(),
            s.target.to_string(),
            format!("{:.4}", s.recall),
            s.nprobe.to_string(),
            if s.stop > 1.0 { "-".into() } else { format!("{:.4}", s.stop) },
            s.breadth.to_string(),
            s.depth.to_string(),
            s.rerank.to_string(),
            format!("{:.1}", s.lists),
            format!("{:.1}", s.reranked),
            Size(s.bytes as u64).to_string(),
            format!("{:.0}", s.disk_us),
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
            "residency": s.residency.name(), "k": s.k, "target_recall": s.target, "nprobe": s.nprobe,
            "stop": if s.stop > 1.0 { None } else { Some(s.stop) }, "breadth": s.breadth, "depth": s.depth,
            "rerank": s.rerank, "reranked_per_query": s.reranked, "disk_us": s.disk_us, "recall": s.recall, "lists_per_query": s.lists, "bytes_per_query": s.bytes,
            "router_recall": s.router_recall,
        })
    };
    json!({
        "element": info.element.name(), "dim": info.dim, "metric": info.metric.name(), "codec": info.codec.to_string(),
        "rows": info.rows, "lists": info.lists, "nodes": info.nodes, "entries": info.entries,
        "list_entries_max": info.list_entries_max, "list_entries_weighted": info.list_entries_weighted,
        "replicas": info.replicas, "seed": info.seed, "disk_bytes": info.disk_bytes, "ram_bytes": info.ram_bytes,
        "pinned": {"residency": info.pinned.residency.name(), "lists": info.pinned.lists, "bytes": info.pinned.bytes},
        "cache_bytes": info.cache_bytes,
        "dimension": info.calibration.dimension, "has_rows": info.has_rows, "has_ids": info.has_ids, "io": index.io(), "files": files,
        "calibration": info.calibration.settings.iter().map(setting).collect::<Vec<_>>(),
        "calibrated_on": calibrated_on(info),
    })
}
