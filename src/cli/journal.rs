//! `viva journal`: looks at the journal, carries interviews out of it and into it, and readmits them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde::Serialize;

use super::style::{bold, dim, error, line};
use super::{FAILED, runtime};
use crate::config::Config;
use crate::interview::InterviewId;
use crate::journal::{
    Arrival, CarriedInterview, Examination, Journal, JournalReader, Line, StoredEvent,
};

/// One event and its frame; a longer line is not one of ours.
const LINE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the whole file and check the chain of every interview; fails if anything is damaged.
    Check {
        /// JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Print interviews as JSON lines: everything that is whole, also of a damaged file.
    Export {
        /// Which; without one all of them.
        ids: Vec<InterviewId>,
    },
    /// Take in interviews that `export` printed. What is here already is compared and not changed.
    Import {
        /// The lines; `-` is the standard input.
        file: PathBuf,
    },
    /// Let interviews that are set aside be taken up again at the next start.
    Adopt {
        /// Which; without one all that are set aside.
        ids: Vec<InterviewId>,
    },
}

pub(super) fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Check { json } => check(config, json),
        Command::Export { ids } => export(config, &ids),
        Command::Import { file } => runtime()?.block_on(import(config, &file)),
        Command::Adopt { ids } => runtime()?.block_on(adopt(config, ids)),
    }
}

#[derive(Serialize)]
struct Checked<'a> {
    whole: bool,
    file: &'a [String],
    interviews: Vec<CheckedInterview<'a>>,
}

#[derive(Serialize)]
struct CheckedInterview<'a> {
    id: &'a str,
    events: u64,
    damage: &'a [String],
}

fn check(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let examination = JournalReader::open(&config.state_directory)?.examine();
    if json {
        let interviews = examination.interviews.iter().map(|i| CheckedInterview {
            id: i.id.as_str(),
            events: i.events,
            damage: &i.damage,
        });
        line(serde_json::to_string_pretty(&Checked {
            whole: examination.is_whole(),
            file: &examination.file,
            interviews: interviews.collect(),
        })?);
    } else {
        show(&examination);
    }
    Ok(if examination.is_whole() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

fn show(examination: &Examination) {
    for damage in &examination.file {
        line(format_args!("{}  {damage}", bold("file")));
    }
    for interview in &examination.interviews {
        for damage in &interview.damage {
            line(format_args!("{}  {damage}", bold(&interview.id)));
        }
    }
    let interviews = examination.interviews.len();
    let events: u64 = examination.interviews.iter().map(|i| i.events).sum();
    let verdict = if examination.is_whole() {
        "the journal is whole"
    } else {
        "the journal is damaged; `viva journal export` prints what is whole"
    };
    line(format_args!(
        "{verdict}  {}",
        dim(format_args!("{interviews} interviews, {events} events"))
    ));
}

/// Damage goes to the standard error, so that the lines stay lines.
fn export(config: &Config, ids: &[InterviewId]) -> anyhow::Result<ExitCode> {
    let reader = JournalReader::open(&config.state_directory)?;
    let (all, mut damage) = reader.all_ids();
    let wanted = if ids.is_empty() { &all[..] } else { ids };
    let mut output = std::io::stdout().lock();
    for id in wanted {
        if !all.contains(id) {
            bail!("the journal has no interview {id}; `viva interviews` lists them");
        }
        let salvaged = reader.salvage(id);
        damage.extend(salvaged.damage.iter().map(|d| format!("{id}: {d}")));
        for carried in salvaged.lines() {
            serde_json::to_writer(&mut output, &carried)?;
            output.write_all(b"\n")?;
        }
    }
    output.flush()?;
    for damage in &damage {
        error(damage);
    }
    Ok(if damage.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

/// How an import goes.
struct Import {
    journal: Journal,
    /// The interview whose events are being read.
    current: Option<Arrival>,
    interviews: u64,
    added: u64,
    known: u64,
    refused: BTreeSet<InterviewId>,
}

async fn import(config: &Config, file: &PathBuf) -> anyhow::Result<ExitCode> {
    let input: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = std::fs::File::open(file)
            .with_context(|| format!("{} can't be read", file.display()))?;
        Box::new(BufReader::new(opened))
    };
    let mut import = Import {
        journal: Journal::open_with(&config.state_directory, config.journal.options())?,
        current: None,
        interviews: 0,
        added: 0,
        known: 0,
        refused: BTreeSet::new(),
    };
    let read = import.read(config, input).await;
    import.journal.close().await?;
    read?;
    line(format_args!(
        "{} interviews: {} events added, {} were here already",
        import.interviews, import.added, import.known
    ));
    Ok(if import.refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    })
}

impl Import {
    async fn read(&mut self, config: &Config, mut input: Box<dyn BufRead>) -> anyhow::Result<()> {
        let mut text = String::new();
        for number in 1u64.. {
            text.clear();
            let mut limited = std::io::Read::take(&mut input, LINE_BYTES_MAX);
            if limited.read_line(&mut text)? == 0 {
                break;
            }
            let carried: Line = serde_json::from_str(&text)
                .with_context(|| format!("line {number} is not one that `export` prints"))?;
            match carried {
                Line::Interview(interview) => {
                    self.finish().await?;
                    self.current = Some(Arrival {
                        interview: *interview,
                        events: Vec::new(),
                    });
                }
                Line::Event(event) => {
                    let event = StoredEvent::try_from(event)?;
                    self.switch_to(config, &event.interview_id).await?;
                    if let Some(current) = &mut self.current {
                        current.events.push(event);
                    }
                }
            }
        }
        self.finish().await
    }

    /// Events whose interview's own line was lost can still be added to one that is here.
    async fn switch_to(&mut self, config: &Config, id: &InterviewId) -> anyhow::Result<()> {
        if self.current.as_ref().is_some_and(|c| c.interview.id == *id) || self.refused.contains(id)
        {
            return Ok(());
        }
        self.finish().await?;
        let Some(row) = JournalReader::open(&config.state_directory)?.interview(id)? else {
            error(format_args!(
                "{id}: its own line is missing, and it is not here"
            ));
            self.refused.insert(id.clone());
            return Ok(());
        };
        self.current = Some(Arrival {
            interview: CarriedInterview {
                id: row.id,
                room: row.room,
                candidate: row.candidate,
                plan_name: row.plan_name,
                plan_hash: row.plan_hash,
                plan_body: None,
                term: row.term,
                begun_at_unix_ms: row.begun_at_unix_ms,
            },
            events: Vec::new(),
        });
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        let Some(mut arrival) = self.current.take() else {
            return Ok(());
        };
        let id = arrival.interview.id.clone();
        let behind = cut_at_gap(&mut arrival.events);
        if let Some(seq) = behind {
            error(format_args!(
                "{id}: event {seq} does not follow the one before it; it and what comes after it is not taken in"
            ));
            self.refused.insert(id.clone());
        }
        match self.journal.arrive(arrival, crate::clock::unix_ms()).await {
            Ok(arrived) => {
                self.interviews += 1;
                self.added += arrived.added;
                self.known += arrived.known;
            }
            Err(
                cause @ (crate::journal::JournalError::Failed { .. }
                | crate::journal::JournalError::Locked { .. }),
            ) => return Err(cause.into()),
            Err(cause) => {
                error(format_args!("{id}: {cause}"));
                self.refused.insert(id);
            }
        }
        Ok(())
    }
}

/// What was exported of a damaged file may lack events in the middle: what comes before is worth having.
fn cut_at_gap(events: &mut Vec<StoredEvent>) -> Option<u64> {
    let gap = events
        .windows(2)
        .position(|pair| pair[1].seq != pair[0].seq + 1)?;
    let seq = events.get(gap + 1).map(|e| e.seq);
    events.truncate(gap + 1);
    seq
}

async fn adopt(config: &Config, ids: Vec<InterviewId>) -> anyhow::Result<ExitCode> {
    let journal = Journal::open_with(&config.state_directory, config.journal.options())?;
    let set_aside = JournalReader::open(&config.state_directory)?.interviews()?;
    let ids = if ids.is_empty() {
        set_aside
            .into_iter()
            .filter(|row| row.ended.is_none() && row.set_aside.is_some())
            .map(|row| row.id)
            .collect()
    } else {
        ids
    };
    let mut readmitted = Ok(());
    for id in &ids {
        readmitted = journal.readmit(id).await;
        if readmitted.is_err() {
            break;
        }
        line(format_args!("{id} is taken up at the next start"));
    }
    journal.close().await?;
    readmitted?;
    if ids.is_empty() {
        line(dim("no interview is set aside"));
    }
    Ok(ExitCode::SUCCESS)
}
