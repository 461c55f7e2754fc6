//! `viva interview`: what is kept of a person, given to them or deleted.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;

use super::style::line;
use super::{report, runtime};
use crate::config::{Config, Environment};
use crate::interview::InterviewId;
use crate::journal::{Journal, JournalError, JournalReader, Line, set_tombstones, tombstones};
use crate::sync::{self, Deletion, Link};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print all that is kept of an interview as one JSON object: its report and every stored event.
    Export {
        /// Which.
        id: InterviewId,
    },
    /// Delete interviews for good, here and in the copies from before migrations.
    Delete {
        /// Which.
        #[arg(required = true)]
        ids: Vec<InterviewId>,
    },
    /// Tell which deletions are done everywhere, and which wait for another appliance to confirm.
    Deletions {
        /// JSON instead of a table: one array.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: Args, config: &Config, env: &Environment) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Export { id } => export(config, &id),
        Command::Delete { ids } => runtime()?.block_on(delete(config, ids)),
        Command::Deletions { json } => runtime()?.block_on(deletions(config, env, json)),
    }
}

#[derive(Serialize)]
struct Exported {
    /// Null where none can be made.
    report: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    why_no_report: Option<String>,
    journal: Vec<Line>,
}

fn export(config: &Config, id: &InterviewId) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(&config.state_directory)?;
    if reader.interview(id)?.is_none() {
        bail!(
            "there is no interview {id} in {}",
            config.state_directory.display()
        );
    }
    // One that is damaged or did not begin has no report; what is whole of it is theirs all the same.
    let (report, why_no_report) = match report::render(config, id, true) {
        Ok(text) => (serde_json::from_str(&text)?, None),
        Err(error) => (serde_json::Value::Null, Some(error.to_string())),
    };
    line(serde_json::to_string_pretty(&Exported {
        report,
        why_no_report,
        journal: reader.salvage(id).lines(),
    })?);
    Ok(ExitCode::SUCCESS)
}

async fn delete(config: &Config, ids: Vec<InterviewId>) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(&config.state_directory)?;
    for id in &ids {
        match reader.interview(id)? {
            None => bail!(
                "there is no interview {id} in {}; nothing was deleted",
                config.state_directory.display()
            ),
            Some(row) if row.ended.is_none() && row.set_aside.is_none() => {
                bail!("the interview {id} is live; end it first, nothing was deleted")
            }
            Some(_) => {}
        }
    }
    drop(reader);
    match Journal::open_with(&config.state_directory, config.journal.options()) {
        Ok(journal) => {
            let deleted = journal.delete(ids).await;
            journal.close().await?;
            line(format_args!("{} deleted", deleted?));
        }
        // The one that writes the journal looks for tombstones itself.
        Err(JournalError::InUse { .. }) => {
            set_tombstones(&config.state_directory, &ids)?;
            line("marked; the running service deletes them within a minute");
        }
        Err(error) => return Err(error.into()),
    }
    if config.postgres.used_url().is_some() {
        line(
            "pending elsewhere: the service deletes them from PostgreSQL, `viva interview deletions` tells when every appliance has",
        );
    }
    if config.journal.litestream {
        line("Litestream's replica keeps them until its retention is over");
    }
    Ok(ExitCode::SUCCESS)
}

/// A deletion is done when no copy is left: not here, not in Postgres, not on another appliance.
async fn deletions(config: &Config, env: &Environment, json: bool) -> anyhow::Result<ExitCode> {
    let here = tombstones(&config.state_directory)?;
    let mut deletions = match Link::of(config, env)? {
        Some(link) => sync::deletions(&link).await?,
        None => Vec::new(),
    };
    let has_copy = config.postgres.used_url().is_some();
    let untold = here
        .iter()
        .filter(|id| !deletions.iter().any(|d| d.interview_id == id.as_str()));
    let untold: Vec<Deletion> = untold
        .map(|id| Deletion {
            interview_id: id.as_str().to_owned(),
            awaited: if has_copy {
                vec!["PostgreSQL".to_owned()]
            } else {
                Vec::new()
            },
        })
        .collect();
    deletions.extend(untold);
    // What is marked is deleted by the service within a minute.
    let reader = JournalReader::open(&config.state_directory)?;
    for deletion in &mut deletions {
        let id = InterviewId::new(deletion.interview_id.as_str());
        if let Ok(id) = id
            && reader.head(&id)?.is_some()
        {
            deletion.awaited.insert(0, "this journal".to_owned());
        }
    }
    if json {
        line(serde_json::to_string_pretty(&deletions)?);
        return Ok(ExitCode::SUCCESS);
    }
    for deletion in &deletions {
        let state = match deletion.awaited.as_slice() {
            [] => "done".to_owned(),
            awaited => format!("pending: {}", awaited.join(", ")),
        };
        line(format_args!("{}  {state}", deletion.interview_id));
    }
    if deletions.is_empty() {
        line("nothing was deleted");
    }
    Ok(ExitCode::SUCCESS)
}
