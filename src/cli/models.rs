//! `viva models`: the pinned model files, and whether those on this machine are they.

use std::process::ExitCode;

use owo_colors::Style;
use serde::Serialize;

use super::style::{bold, column, dim, line};
use crate::boot::engines::{prepare as prepare_models, runtime_path};
use crate::config::Config;
use crate::models::{FileState, Manifest, Purpose};
use crate::onnx::Preparation;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// What is pinned: package, version, licence.
    List {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Hash every file and compare it with the manifest.
    Verify {
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Turn the voice and the turn model into the form that loads fastest, beside their files. Done already, it does nothing.
    Prepare,
}

/// What a running Viva uses; the tests' own recordings are not among it.
const IN_USE: [Purpose; 4] = [
    Purpose::Vad,
    Purpose::Turn,
    Purpose::Runtime,
    Purpose::Speech,
];

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    package: &'a str,
    version: &'a str,
    licence: &'a str,
    bytes: u64,
    files: Vec<String>,
}

#[derive(Serialize)]
struct Verified {
    model: String,
    path: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

pub(super) fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List { json } => list(json),
        Command::Verify { json } => verify(config, json),
        Command::Prepare => prepare(config),
    }
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    let models = Manifest::builtin()
        .models
        .iter()
        .filter(|m| IN_USE.contains(&m.purpose));
    let listed: Vec<Listed<'_>> = models
        .map(|m| Listed {
            name: &m.name,
            package: &m.package,
            version: &m.version,
            licence: &m.licence,
            bytes: m.files.iter().map(|f| f.bytes).sum(),
            files: m
                .files
                .iter()
                .map(|f| f.path.display().to_string())
                .collect(),
        })
        .collect();
    if json {
        line(serde_json::to_string_pretty(&listed)?);
        return Ok(ExitCode::SUCCESS);
    }
    line(bold(format_args!(
        "{:20}  {:30}  {:>9}  licence",
        "model", "package", "size"
    )));
    for model in &listed {
        let package = format!("{} {}", model.package, model.version);
        line(format_args!(
            "{:20}  {package:30}  {:>6} MB  {}",
            model.name,
            model.bytes.div_ceil(1_000_000),
            dim(model.licence)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn prepare(config: &Config) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for model in prepare_models(config)? {
        let (state, style) = match &model.result {
            Ok(Preparation::Made) => ("made", Style::new().green()),
            Ok(Preparation::Fits) => ("there", Style::new().green()),
            Err(_) => ("failed", Style::new().red()),
        };
        line(format_args!(
            "{}  {}",
            column(state, 10, style),
            model.path.display()
        ));
        if let Err(error) = model.result {
            line(dim(format_args!("            {error}")));
            code = ExitCode::from(super::FAILED);
        }
    }
    Ok(code)
}

fn verify(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    // A runtime from elsewhere is not the pinned one and need not be.
    let fetched = runtime_path(config).starts_with(&config.models.directory);
    let in_use: Vec<Purpose> = IN_USE
        .into_iter()
        .filter(|p| fetched || *p != Purpose::Runtime)
        .collect();
    let reports = Manifest::builtin().verify(&config.models.directory, &in_use);
    let verified: Vec<Verified> = reports
        .into_iter()
        .map(|report| {
            let (state, cause) = match report.state {
                FileState::Right => ("ok", None),
                FileState::Missing => ("missing", None),
                FileState::Altered { expected, found } => (
                    "altered",
                    Some(format!("sha256 is {found}, expected {expected}")),
                ),
                FileState::Unreadable(error) => ("unreadable", Some(error.to_string())),
            };
            Verified {
                model: report.model,
                path: report.path.display().to_string(),
                state,
                cause,
            }
        })
        .collect();
    let all_right = verified.iter().all(|v| v.state == "ok");
    if json {
        line(serde_json::to_string_pretty(&verified)?);
    } else {
        for file in &verified {
            let style = if file.state == "ok" {
                Style::new().green()
            } else {
                Style::new().red()
            };
            line(format_args!(
                "{}  {}",
                column(file.state, 10, style),
                file.path
            ));
            if let Some(cause) = &file.cause {
                line(dim(format_args!("            {cause}")));
            }
        }
        if !all_right {
            line("");
            line(
                "Fetch what is not ok with models/fetch (`make setup`), or set models.directory to where the files are.",
            );
        }
    }
    Ok(if all_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::FAILED)
    })
}
