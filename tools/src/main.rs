//! The command line of Nearline: build, search, measure and check an index on disk; fill, empty and keep collections.
#![forbid(unsafe_code)]

mod args;
mod behaviors;
mod build;
mod calibrate;
mod collections;
mod compact;
mod db;
mod demo;
mod exit;
mod export;
mod exported;
mod generate;
mod groundtruth;
#[cfg(feature = "parquet")]
mod guard;
mod import;
mod inspect;
mod interrupt;
mod listing;
mod machine;
mod opened;
mod output;
mod place;
mod plot;
mod print;
mod progress;
mod query;
mod recall;
mod search;
mod serve;
mod size;
mod snapshot;
mod source;
mod table;
mod tables;
mod truth;
mod verify;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::exit::Exit;

/// One that gives memory back: what is asked of a database is that it keeps within its budget, and its threads free what
/// others allocated.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    panic::set_hook(Box::new(|info| {
        #[cfg(feature = "parquet")]
        if guard::is_on() {
            return;
        }
        let message = info.to_string().replace('\n', " ");
        print::note(format!("nearline: internal error, please report it: {message}"));
    }));
    match panic::catch_unwind(AssertUnwindSafe(|| dispatch(&cli.command))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if nobody_reads(&error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            print::note(format!("nearline: {}", exit::one_line(&error)));
            code(exit::code(&error))
        }
        Err(_) => code(Exit::Internal),
    }
}

fn dispatch(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(args),
        Command::Generate(args) => generate::run(args),
        Command::Groundtruth(args) => groundtruth::run(args),
        Command::Build(args) => build::run(args),
        Command::Query(args) => query::run(args),
        Command::Recall(args) => recall::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Import(args) => import::run(args),
        Command::Export(args) => export::run(args),
        Command::Collections(args) => collections::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Compact(args) => compact::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Table(args) => tables::run(args),
        Command::Behaviors(args) => behaviors::run(args),
        Command::Serve(args) => serve::run(args),
    }
}

/// Shows help, or says in one line what is wrong with the arguments.
fn refuse(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind as Kind;
    match error.kind() {
        Kind::DisplayHelp | Kind::DisplayVersion | Kind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            if error.use_stderr() { code(Exit::Usage) } else { ExitCode::SUCCESS }
        }
        _ => {
            print::note(format!("nearline: {}", args::one_line(error)));
            code(Exit::Usage)
        }
    }
}

/// Whether the reader of our output has gone, as `head` does when it has enough.
fn nobody_reads(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
