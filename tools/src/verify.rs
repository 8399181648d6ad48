//! `nearline verify`: read all of an index and name everything that is damaged.

use std::path::PathBuf;

use crate::exit::{self, Exit};
use crate::progress::{Mode, Reporter};
use crate::size::{self, Size};
use crate::{args, interrupt, machine, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the index
    index: PathBuf,
    /// How the disk is read [default: NEARLINE_IO, or auto]
    #[arg(long, value_enum)]
    io: Option<args::Io>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    let reporter = Reporter::new(args.progress);
    reporter.start("verify", 0, machine::folder_bytes(&args.index));
    let mut progress = |_: &str, bytes: u64| reporter.add(bytes);
    let report = nearline::verify(&args.index, args::io_mode(args.io)?, &mut progress)?;
    reporter.finish();
    for problem in &report.problems {
        print::line(format!("{}: {}", problem.file, problem.message))?;
    }
    let (dir, bytes) = (args.index.display(), Size(report.bytes));
    let (files, extents) = (report.files, size::count(report.extents));
    match report.problems.len() {
        0 => print::line(format!("{dir}: sound: {files} files, {extents} extents, {bytes}")),
        n => Err(exit::fail(
            Exit::Corrupt,
            format!(
                "{dir}: found {n} problems in {files} files, expected none: build it again, or restore it from a copy"
            ),
        )),
    }
}
