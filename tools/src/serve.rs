//! `nearline serve`: answer over HTTP.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use nearline_server::{Config, ServeError};

use crate::db::DbArgs;
use crate::{exit, print};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    db: DbArgs,
    /// Address and port [default: 127.0.0.1:6333]
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Let other machines in, although nobody is asked for a key
    #[arg(long)]
    insecure: bool,
    /// File of settings (TOML); NEARLINE_SERVE_NAME in the environment goes over NAME in it
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print the settings as they would be used, and do nothing
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = config(args)?;
    if args.print_config {
        return print::line(config.effective().trim_end());
    }
    config.check().map_err(ServeError::from)?;
    // Before a database is made that nobody could ask. What is bound here is free again when it is listened on.
    drop(
        TcpListener::bind(config.listen)
            .map_err(|source| ServeError::Listen { listen: config.listen, source })?,
    );
    let database = args.db.open_or_create(true)?;
    nearline_server::serve(database, &config, |listen| {
        print::note(config.effective().trim_end());
        let scheme = if config.tls_cert.is_empty() { "http" } else { "https" };
        print::note(format!("listening on {scheme}://{listen}"));
    })?;
    print::note("stopped");
    Ok(())
}

/// Settings: the file's, over them the environment's, over those the command line's.
fn config(args: &Args) -> anyhow::Result<Config> {
    let text = match &args.config {
        None => String::new(),
        Some(path) => fs::read_to_string(path)
            .map_err(|error| exit::bad_input(format!("{}: {error}", path.display())))?,
    };
    let environment = |name: &str| match name {
        "NEARLINE_SERVE_LISTEN" if args.listen.is_some() => args.listen.map(|listen| listen.to_string()),
        "NEARLINE_SERVE_INSECURE" if args.insecure => Some("true".to_owned()),
        name => std::env::var(name).ok(),
    };
    Config::read(&text, environment).map_err(|error| exit::usage(error.to_string()))
}
