//! The subcommands, one file each.

mod boot;
mod check;
mod config;
mod demo;
mod drain;
mod interview;
mod interviews;
mod journal;
mod models;
mod report;
mod serve;
mod style;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::boot::addresses;
use crate::config::{Config, ConfigError, Environment};
use crate::spawn::THREADS;
use crate::telemetry;

/// The process did what it was asked to.
const DONE: u8 = 0;

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
    /// Run the start's stages without serving, and show where the time goes.
    Boot(boot::Args),
    /// Look at settings without using them.
    Config(config::Args),
    /// Let a running service take no more interviews, and wait until those that are on have ended.
    Drain(drain::Args),
    /// Print the transcript of an interview.
    Report(report::Args),
    /// List the interviews in the journal.
    Interviews(interviews::Args),
    /// Export or delete what is kept of a person.
    Interview(interview::Args),
    /// Check the journal, carry interviews out of it and into it, and readmit them.
    Journal(journal::Args),
    /// List and verify the pinned model files.
    Models(models::Args),
}

/// Where the settings of this process come from, so that they can be read again.
#[derive(Debug, Clone)]
struct Source {
    file: Option<PathBuf>,
    env: Environment,
    state_dir: Option<PathBuf>,
    listen: Option<SocketAddr>,
}

impl Source {
    /// The settings of file, environment and flags.
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.file.as_deref(), &self.env)?;
        self.lay_over(&mut config);
        let origin = self.file.as_ref().map(|file| file.display().to_string());
        addresses::check(&config, origin.as_deref().unwrap_or("the environment"))?;
        Ok(config)
    }

    /// Lays the flags over settings.
    fn lay_over(&self, config: &mut Config) {
        if let Some(directory) = &self.state_dir {
            config.state_directory.clone_from(directory);
        }
        if let Some(listen) = self.listen {
            config.http.listen = listen;
        }
    }
}

/// Parses the command line, runs what it asks for, and says how that went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        // Whatever this process's own settings are.
        Command::Config(args) => config::run(args),
        command => run_with_settings(
            command,
            Source {
                file: cli.config,
                env: Environment::of_process(),
                state_dir: cli.state_dir,
                listen: None,
            },
        ),
    };
    result.unwrap_or_else(|error| ExitCode::from(failed(&error)))
}

/// Says what went wrong and gives the exit status for it.
fn failed(error: &anyhow::Error) -> u8 {
    fail(error.as_ref());
    if error
        .downcast_ref::<ConfigError>()
        .is_some_and(ConfigError::is_lasting)
    {
        INVALID_CONFIGURATION
    } else {
        FAILED
    }
}

/// Ends a process that may have models loading or at work: at once, without the destructors of ONNX Runtime, which would
/// take the ground from under threads that still stand on it.
fn end(result: anyhow::Result<u8>) -> ! {
    telemetry::flush(telemetry::END_LIMIT);
    let status = result.unwrap_or_else(|error| failed(&error));
    // Nobody is left who could be told that standard output is gone.
    let _flushed = std::io::Write::flush(&mut std::io::stdout());
    signal_hook::low_level::exit(status.into())
}

fn run_with_settings(command: Command, source: Source) -> anyhow::Result<ExitCode> {
    let config = source.load()?;
    match command {
        Command::Serve(args) => end(serve::run(&args, config, source)),
        Command::Demo(args) => demo::run(args, config),
        Command::Boot(args) => end(boot::run(&args, &config, &source.env)),
        Command::Check(args) => end(check::run(args, &config, &source.env)),
        Command::Config(args) => config::run(args),
        Command::Drain(args) => drain::run(&args, &config),
        Command::Report(args) => report::run(args, &config),
        Command::Interviews(args) => interviews::run(args, &config),
        Command::Interview(args) => interview::run(args, &config, &source.env),
        Command::Journal(args) => journal::run(args, &config),
        Command::Models(args) => models::run(args, &config),
    }
}

/// One line that a person can act on; the causes follow the colon.
fn fail(error: &(dyn std::error::Error + 'static)) {
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
}

/// The runtime of everything that is not media.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("app")
        .enable_all()
        .build()
}

/// Runs a command to its end. Work that still hangs on a disk by then does not hold up the end of the process.
fn block_on<F: Future>(command: F) -> std::io::Result<F::Output> {
    let runtime = runtime()?;
    let output = runtime.block_on(command);
    runtime.shutdown_background();
    Ok(output)
}
