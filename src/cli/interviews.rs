//! `viva interviews`: what the journal holds.

use std::process::ExitCode;

use owo_colors::Style;
use serde::Serialize;

use super::style::{bold, column, dim, line};
use crate::config::Config;
use crate::journal::{InterviewRow, JournalReader};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON instead of a table: one array.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    room: &'a str,
    plan: &'a str,
    plan_hash: &'a str,
    term: u64,
    begun_at_unix_ms: u64,
    ended_at_unix_ms: Option<u64>,
    end_reason: Option<&'a str>,
    events: u64,
    candidate: Option<&'a str>,
    attempts: u32,
    /// Why it is not taken up again, where it is not.
    set_aside: Option<&'a str>,
}

impl<'a> From<&'a InterviewRow> for Entry<'a> {
    fn from(row: &'a InterviewRow) -> Self {
        Self {
            id: row.id.as_str(),
            room: &row.room,
            plan: &row.plan_name,
            plan_hash: &row.plan_hash,
            term: row.term,
            begun_at_unix_ms: row.begun_at_unix_ms,
            ended_at_unix_ms: row.ended.as_ref().map(|e| e.at_unix_ms),
            end_reason: row.ended.as_ref().map(|e| e.reason.as_str()),
            events: row.events,
            candidate: row.candidate.as_deref(),
            attempts: row.attempts,
            set_aside: row.set_aside.as_deref(),
        }
    }
}

pub(super) fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let rows = JournalReader::open(&config.state_directory)?.interviews()?;
    let entries: Vec<Entry<'_>> = rows.iter().map(Entry::from).collect();
    if args.json {
        line(serde_json::to_string_pretty(&entries)?);
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        line(dim("no interviews yet"));
        return Ok(ExitCode::SUCCESS);
    }
    let width = entries.iter().map(|e| e.id.len()).max().unwrap_or(0).max(2);
    line(bold(format_args!(
        "{:width$}  {:20}  {:>8}  {:16}  {}",
        "id", "begun (UTC)", "minutes", "ended", "plan"
    )));
    for entry in &entries {
        let minutes = entry.ended_at_unix_ms.map_or(String::new(), |end| {
            tenths_of_minutes(end.saturating_sub(entry.begun_at_unix_ms))
        });
        let (end, style) = match entry.end_reason {
            None if entry.set_aside.is_some() => ("set aside", Style::new().yellow().bold()),
            None => ("live", Style::new().green()),
            Some("completed") => ("completed", Style::new()),
            Some(other) => (other, Style::new().yellow()),
        };
        let begun = crate::interview::report::utc(entry.begun_at_unix_ms);
        line(format_args!(
            "{:width$}  {begun:20}  {minutes:>8}  {}  {}",
            entry.id,
            column(end, 16, style),
            dim(entry.plan)
        ));
        if let (None, Some(cause)) = (entry.end_reason, entry.set_aside) {
            line(format_args!("{:width$}  {}", "", dim(cause)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tenths_of_minutes(ms: u64) -> String {
    let tenths = ms / 6_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}
