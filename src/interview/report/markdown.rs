//! Writes a report as Markdown.

use std::fmt::{self, Write};

use super::super::event::{EndReason, Outcome};
use super::super::mind::Mind;
use super::{Delivery, Line, Report, Who};

pub(super) fn markdown(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = write(&mut text, report);
    text
}

fn write(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "# {}\n", escape(&report.title))?;
    let ended = report
        .end
        .as_ref()
        .map_or_else(|| "not yet: the interview is live".to_owned(), end);
    let mind = match report.mind {
        Mind::Plan => "the plan alone",
        Mind::Llm => "the plan and a language model",
    };
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => escape(&names.join(", ")),
    };
    writeln!(out, "- Interview: {}", escape(report.interview_id.as_str()))?;
    writeln!(out, "- Room: {}", escape(&report.room))?;
    let candidate = report.candidate.as_deref().unwrap_or("nobody came");
    writeln!(out, "- Candidate: {}", escape(candidate))?;
    writeln!(
        out,
        "- Interviewer: {}, an AI; words by {mind}",
        escape(&report.interviewer)
    )?;
    writeln!(out, "- Opened: {}", utc(report.opened_at_unix_ms))?;
    writeln!(out, "- Duration: {}", clock(report.duration_ms))?;
    writeln!(out, "- Ended: {ended}")?;
    writeln!(
        out,
        "- Speech to text: {}; text to speech: {}",
        list(&report.engines.stt),
        list(&report.engines.tts)
    )?;
    if let Some(times) = report.response {
        writeln!(
            out,
            "- From the end of a turn to the first sound of the reply: median {} ms, 95 % within {} ms, at most {} ms ({} turns)",
            times.p50_ms, times.p95_ms, times.max_ms, times.turns
        )?;
    }
    writeln!(out, "- Plan: {}", escape(&report.plan_hash))?;
    questions(out, report)?;
    writeln!(out, "\n## Transcript")?;
    for line in &report.transcript {
        transcript_line(out, report, line)?;
    }
    Ok(())
}

fn questions(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "\n## Questions\n")?;
    writeln!(out, "| # | Section | Question | Asked at | Outcome |")?;
    writeln!(out, "| --- | --- | --- | --- | --- |")?;
    for section in &report.sections {
        for question in &section.questions {
            let asked = question.asked_at_ms.map_or_else(|| "–".to_owned(), clock);
            let outcome = match (question.outcome, question.asked_at_ms) {
                (Some(outcome), _) => outcome_text(outcome),
                (None, Some(_)) => "open",
                (None, None) => "not asked",
            };
            writeln!(
                out,
                "| {} | {} | {} | {asked} | {outcome} |",
                question.number,
                escape(&section.title),
                escape(&question.text)
            )?;
            for follow_up in &question.follow_ups {
                writeln!(out, "| | | Follow-up: {} | | |", escape(follow_up))?;
            }
        }
    }
    Ok(())
}

fn transcript_line(out: &mut String, report: &Report, line: &Line) -> fmt::Result {
    let at = clock(line.at_ms);
    let text = escape(&line.text);
    match line.who {
        Who::Room => return writeln!(out, "\n{at} *{text}*"),
        Who::Interviewer => write!(out, "\n{at} **{}:** {text}", escape(&report.interviewer))?,
        Who::Candidate => write!(out, "\n{at} **Candidate:** {text}")?,
    }
    out.push_str(match line.delivery {
        Delivery::Whole => "",
        Delivery::Cut => " … *(cut off here)*",
        Delivery::Page => " *(shown as text)*",
        Delivery::Unknown => " *(how much of this was heard is not known)*",
        Delivery::NotUnderstood => "*(not understood)*",
    });
    if let Some(latency) = line.latency {
        write!(out, " *[words after {} ms", latency.words_ms)?;
        if let Some(ms) = latency.mind_ms {
            write!(out, ", model {ms} ms")?;
        }
        if let Some(ms) = latency.response_ms {
            write!(out, ", reply after {ms} ms")?;
        }
        out.push_str("]*");
    }
    out.push('\n');
    Ok(())
}

fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Answered => "answered",
        Outcome::Skipped => "skipped by the candidate",
        Outcome::Silent => "no answer",
        Outcome::NotUnderstood => "not understood",
        Outcome::Unfinished => "not finished",
    }
}

fn end(reason: &EndReason) -> String {
    match reason {
        EndReason::Completed => "all questions were asked".to_owned(),
        EndReason::TimeUp => "the time was used up".to_owned(),
        EndReason::CandidateGone => "the candidate left and did not come back".to_owned(),
        EndReason::CandidateNeverCame => "the candidate never came".to_owned(),
        EndReason::Fault { what } => format!("a fault: {}", escape(what)),
        EndReason::RoomGone { cause } => format!("the room was gone: {}", escape(cause)),
    }
}

/// Minutes and seconds.
fn clock(ms: u64) -> String {
    format!("{:02}:{:02}", ms / 60_000, ms / 1000 % 60)
}

/// The wall clock in UTC. The day is found by Howard Hinnant's `civil_from_days`, which counts years from
/// March so that the leap day is the last.
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Text that shows as it is: no markup, no link, no image, no HTML, one line, nothing invisible that turns
/// the direction of reading.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = [' '; 3];
    for c in text.chars() {
        let www = before.iter().all(|b| b.eq_ignore_ascii_case(&'w'));
        match c {
            '\u{061C}'
            | '\u{200B}'..='\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FEFF}' => {
                continue;
            }
            c if c.is_control() => out.push(' '),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|'
            | '<' | '>' | '&' | '~' | ':' | '@' | '$' => {
                out.push('\\');
                out.push(c);
            }
            // GitHub's Markdown makes a link of a bare "www.".
            '.' if www => out.push_str("\\."),
            // At the start these make a list, a rule or a heading of it.
            '-' | '=' if out.is_empty() => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        before = [before[1], before[2], c];
    }
    out
}
