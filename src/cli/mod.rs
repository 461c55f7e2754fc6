//! The subcommands, one file each.

mod check;
mod demo;
mod interviews;
mod journal;
mod models;
mod report;
mod serve;
mod style;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Environment};

/// The process could not do what it was asked to.
const FAILED: u8 = 1;

/// The settings are not valid; a service manager need not try again (`EX_CONFIG` of sysexits.h).
const INVALID_CONFIGURATION: u8 = 78;

/// Conducts technical voice interviews in LiveKit rooms.
#[derive(Debug, Parser)]
#[command(name = "viva", version, about, propagate_version = true)]
struct Cli {
    /// The settings file (TOML); without one the defaults and the environment hold.
    #[arg(long, short, global = true, env = "VIVA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the journal lies, in place of the settings' `state_directory`.
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register with LiveKit and hold interviews until told to stop.
    Serve(serve::Args),
    /// Hold one interview on this machine with a simulated candidate, or with you.
    Demo(demo::Args),
    /// Try every part that an interview needs and print what state it is in.
    Check(check::Args),
    /// Print the transcript of an interview.
    Report(report::Args),
    /// List the interviews in the journal.
    Interviews(interviews::Args),
    /// Check the journal, carry interviews out of it and into it, and readmit them.
    Journal(journal::Args),
    /// List and verify the pinned model files.
    Models(models::Args),
}

/// Parses the command line, runs what it asks for, and says how that went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let env = Environment::of_process();
    let mut config = match Config::load(cli.config.as_deref(), &env) {
        Ok(config) => config,
        Err(error) => return fail(&error, INVALID_CONFIGURATION),
    };
    if let Some(directory) = cli.state_dir {
        config.state_directory = directory;
    }
    let result = match cli.command {
        Command::Serve(args) => serve::run(args, config, &env),
        Command::Demo(args) => demo::run(args, config),
        Command::Check(args) => check::run(args, &config, &env),
        Command::Report(args) => report::run(args, &config),
        Command::Interviews(args) => interviews::run(args, &config),
        Command::Journal(args) => journal::run(args, &config),
        Command::Models(args) => models::run(args, &config),
    };
    match result {
        Ok(code) => code,
        Err(error) if error.downcast_ref::<crate::config::ConfigError>().is_some() => {
            fail(error.as_ref(), INVALID_CONFIGURATION)
        }
        Err(error) => fail(error.as_ref(), FAILED),
    }
}

/// One line that a person can act on; the causes follow the colon.
fn fail(error: &(dyn std::error::Error + 'static), code: u8) -> ExitCode {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    style::error(&message);
    ExitCode::from(code)
}

/// The wall clock; before 1970 it is 1970.
fn unix_ms() -> u64 {
    let since_1970 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// The runtime of everything that is not media: few threads, since none of them computes.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("app")
        .enable_all()
        .build()
}
