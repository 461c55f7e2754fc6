//! `viva report`: the transcript of an interview, as Markdown or JSON.

use std::process::ExitCode;

use anyhow::Context;

use super::style::line;
use crate::config::Config;
use crate::interview::InterviewId;
use crate::interview::plan::Plan;
use crate::interview::report::Report;
use crate::journal::JournalReader;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The interview's id: the room's name without its prefix.
    id: String,
    /// JSON instead of Markdown.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let id = InterviewId::new(&args.id)?;
    line(render(config, &id, args.json)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// The report's text.
pub(super) fn render(config: &Config, id: &InterviewId, json: bool) -> anyhow::Result<String> {
    let journal = JournalReader::open(&config.state_directory)?;
    let interview = journal.interview(id)?.with_context(|| {
        format!(
            "there is no interview {id} in {}; `viva interviews` lists them",
            config.state_directory.display()
        )
    })?;
    let body = journal.plan(&interview.plan_hash)?;
    let plan = Plan::parse(&body, &interview.plan_name)?;
    let report = Report::of(&plan, &journal.events(id)?)?;
    if json {
        return report
            .to_json()
            .context("the report can't be written as JSON");
    }
    Ok(report.to_markdown())
}
