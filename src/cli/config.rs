//! `viva config`: looks at settings without using them.

use std::path::PathBuf;
use std::process::ExitCode;

use super::style::line;
use crate::boot::addresses;
use crate::config::{Config, Environment};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Parse and validate a settings file, and nothing else: no network, secrets, models or environment. Exits with 78
    /// if it has a mistake.
    Check {
        /// The file.
        file: PathBuf,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Check { file } = args.command;
    // The file alone is judged: what surrounds whoever builds a system is not what surrounds the service.
    let config = Config::load(Some(&file), &Environment::default())?;
    addresses::check(&config, &file.display().to_string())?;
    line(format_args!("{} is valid", file.display()));
    Ok(ExitCode::SUCCESS)
}
