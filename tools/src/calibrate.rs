//! `nearline calibrate`: measure with real questions how widely a collection must be searched.

use std::path::PathBuf;

use nearline::{CalibrationReport, QUESTIONS_MAX};
use nearline_datasets::VectorFile;
use serde_json::json;

use crate::db::{self, CollectionArgs};
use crate::source::check_rows;
use crate::table::Table;
use crate::{interrupt, print, size};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: CollectionArgs,
    /// File of vectors to ask with, as they will be asked: 60 at least, of which 1000 are kept
    #[arg(long)]
    queries: PathBuf,
    /// Name of the vectors that are asked about
    #[arg(long, default_value = "")]
    vector: String,
    /// Neighbours wanted
    #[arg(short, long, default_value_t = 10)]
    k: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Killed at any moment, it leaves what was known before or what comes after.
    interrupt::at_once()?;
    let file = VectorFile::open(&args.queries)?;
    let (_database, collection) = args.of.open()?;
    let report = collection.calibrate(&args.vector, vectors(&file)?, args.k)?;
    if args.json {
        return print::json(&document(&collection.name(), &report));
    }
    print::line(format!(
        "collection {:?}: {} questions are kept, for their {} nearest",
        collection.name(),
        size::count(report.questions as u64),
        report.k
    ))?;
    if report.targets.is_empty() {
        return print::line("there is no vector index to be measured yet; when there is, it will be");
    }
    let head = ["target", "recall before", "lists", "factor", "recall", "at least", "lists"];
    let mut table = Table::new(head);
    for found in &report.targets {
        table.row([
            format!("{:.2}", found.target),
            format!("{:.4}", found.recall_before),
            format!("{:.1}", found.lists_before),
            format!("{:.2}", found.factor),
            format!("{:.4}", found.recall),
            format!("{:.4}", found.at_least),
            format!("{:.1}", found.lists),
        ]);
    }
    print::line(table)
}

/// As many vectors of a file as are kept, at equal distances.
fn vectors(file: &VectorFile) -> anyhow::Result<Vec<nearline::Vector>> {
    let (count, row_bytes) = (file.count(), file.row_bytes());
    let kept = count.min(QUESTIONS_MAX as u64);
    let mut reader = file.rows(0)?;
    let (mut rows, mut from, mut out) = (vec![0; 256 * row_bytes], 0, Vec::new());
    loop {
        let read = reader.read(&mut rows)?;
        if read == 0 {
            return Ok(out);
        }
        let rows = &rows[..read * row_bytes];
        check_rows(file, rows, from, false)?;
        for (at, row) in (from..).zip(rows.chunks_exact(row_bytes)) {
            if at == out.len() as u64 * count / kept {
                out.push(db::vector(file.element(), row));
            }
        }
        from += read as u64;
    }
}

fn document(name: &str, report: &CalibrationReport) -> serde_json::Value {
    let targets = report.targets.iter().map(|found| {
        json!({
            "target_recall": found.target, "recall_before": found.recall_before, "lists_before": found.lists_before,
            "factor": found.factor, "recall": found.recall, "recall_at_least": found.at_least, "lists": found.lists,
        })
    });
    json!({
        "collection": name, "queries": report.questions, "k": report.k, "targets": targets.collect::<Vec<_>>(),
    })
}
