//! `nearline verify`: read all of an index or a database and name everything that is damaged.

use std::path::{Path, PathBuf};

use nearline::{Database, DatabaseReport, IndexError};

use crate::exit::{self, Exit};
use crate::progress::{Mode, Reporter};
use crate::size::{self, Size};
use crate::{args, interrupt, machine, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the index or database
    folder: PathBuf,
    /// In a database: verify this collection alone
    #[arg(long)]
    collection: Option<String>,
    /// In a database: remove files that crashes left and nothing names, build damaged field indexes anew; other damage stays
    #[arg(long)]
    repair: bool,
    /// How the disk is read [default: NEARLINE_IO, or auto]
    #[arg(long, value_enum)]
    io: Option<args::Io>,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    progress: Mode,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    interrupt::at_once()?;
    if Database::is_in(&args.folder) { database(args) } else { index(args) }
}

fn database(args: &Args) -> anyhow::Result<()> {
    let reporter = Reporter::new(args.progress);
    let mut done = None;
    let mut progress = |_: &str, total: usize| {
        match done {
            None => reporter.start("verify", 0, total as u64),
            Some(done) => reporter.set(done),
        }
        done = Some(done.unwrap_or(0) + 1);
    };
    let builder = Database::builder(&args.folder).io(args::io_mode(args.io)?);
    let report = builder.verify(args.collection.as_deref(), args.repair, &mut progress)?;
    reporter.finish();
    let fate = if report.repaired { "removed" } else { "harmless; --repair removes it" };
    for path in &report.leftovers {
        print::line(format!("{}: left over from a crash: {fate}", path.display()))?;
    }
    for name in &report.rebuilt {
        print::line(format!("collection {name:?}: field indexes were damaged: built anew"))?;
    }
    for damage in &report.damaged {
        let snapshot = damage.snapshot.as_ref().map(|name| format!(", snapshot {name:?}"));
        let snapshot = snapshot.unwrap_or_default();
        // That of a snapshot of all there is has no name.
        let name = Some(&damage.collection).filter(|name| !name.is_empty());
        let name = name.map_or_else(String::new, |name| format!(" {name:?}"));
        print::line(format!("{}{name}{snapshot}: {}", damage.what, damage.error))?;
    }
    let (dir, read) = (args.folder.display(), counts(&report));
    match report.damaged.len() {
        0 => {
            let points = size::count(report.points);
            print::line(format!("{dir}: sound: {points} points in {read}"))
        }
        n => Err(exit::fail(
            Exit::Corrupt,
            format!(
                "{dir}: found {n} damaged of {read}, expected none: restore them from a snapshot or a copy"
            ),
        )),
    }
}

/// What was read, by its kinds; of tables and spaces only if there are some.
fn counts(report: &DatabaseReport) -> String {
    let some = |count: u64, kind| (count > 0).then(|| format!("{count} {kind}"));
    let counts = [
        Some(format!("{} collections", report.collections)),
        some(report.tables, "embedding tables"),
        some(report.spaces, "behaviour spaces"),
        Some(format!("{} snapshots", report.snapshots)),
    ];
    counts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn index(args: &Args) -> anyhow::Result<()> {
    let dir = args.folder.display();
    if args.repair {
        return Err(exit::usage(format!("{dir}: --repair is for databases; a damaged index is built again")));
    }
    if args.collection.is_some() {
        return Err(exit::usage(format!("{dir}: no database, which --collection is for")));
    }
    let reporter = Reporter::new(args.progress);
    reporter.start("verify", 0, machine::folder_bytes(&args.folder));
    let mut progress = |_: &str, bytes: u64| reporter.add(bytes);
    let report = nearline::verify(&args.folder, args::io_mode(args.io)?, &mut progress);
    let parent = args.folder.parent();
    let parent = parent.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    let parent = parent.filter(|parent| Database::is_in(parent));
    let report = report.map_err(|error| match (&error, parent) {
        (IndexError::NotAnIndex { .. }, Some(database)) => {
            let database = database.display();
            exit::usage(format!(
                "{dir}: not an index; for a collection give {database} and --collection NAME"
            ))
        }
        _ => error.into(),
    })?;
    reporter.finish();
    for problem in &report.problems {
        print::line(format!("{}: {}", problem.file, problem.message))?;
    }
    let (dir, bytes) = (args.folder.display(), Size(report.bytes));
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
