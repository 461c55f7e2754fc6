//! The demonstration as it is seen: who speaks, what was understood, how long things took.

use std::time::Instant;

use owo_colors::Style;

use crate::cli::style::{bold, column, dim, line, styled, wrap};

/// Room for a name before what is said.
const NAME_WIDTH: usize = 10;

/// Longest line of speech.
const TEXT_WIDTH: usize = 84;

/// Prints the conversation with the time since its beginning.
pub struct Screen {
    zero: Instant,
}

impl Screen {
    /// Time counts from now.
    pub fn new() -> Self {
        Self {
            zero: Instant::now(),
        }
    }

    /// A step of the preparation that is done.
    pub fn done(&self, what: &str, ms: u128) {
        line(format_args!(
            "  {} {what:<58}{}",
            styled("✓", Style::new().green()),
            dim(format_args!("{ms:>6} ms"))
        ));
    }

    /// An empty line.
    pub fn gap(&self) {
        line("");
    }

    /// Somebody says something.
    pub fn says(&self, who: &str, text: &str) {
        let style = if who == "Viva" {
            Style::new().cyan().bold()
        } else {
            Style::new().yellow().bold()
        };
        for (number, part) in wrap(text, TEXT_WIDTH).into_iter().enumerate() {
            if number == 0 {
                line(format_args!(
                    "{} {} {part}",
                    self.time(),
                    column(who, NAME_WIDTH, style)
                ));
            } else {
                line(format_args!("{:8}{:NAME_WIDTH$} {part}", "", ""));
            }
        }
    }

    /// What the interviewer took the candidate's words for.
    pub fn understood(&self, text: &str, word_error_rate: f64) {
        let label = dim(format_args!("{:8}{:NAME_WIDTH$} ", "", "heard as"));
        for (number, part) in wrap(text, TEXT_WIDTH).into_iter().enumerate() {
            let lead = if number == 0 {
                label.clone()
            } else {
                format!("{:8}{:NAME_WIDTH$} ", "", "")
            };
            line(format_args!("{lead}{}", dim(part)));
        }
        if word_error_rate > 0.0 {
            self.note(&format!(
                "{:.0} % of the words differ",
                word_error_rate * 100.0
            ));
        }
    }

    /// Something that happened, quietly.
    pub fn event(&self, text: &str) {
        self.note(text);
    }

    /// What the interviewer is doing; only what lasts is worth a line.
    pub fn state(&self, state: &str) {
        if state == "thinking" {
            self.note("the interviewer is thinking");
        }
    }

    /// A heading.
    pub fn heading(&self, text: &str) {
        line("");
        line(bold(text));
    }

    /// A figure of the summary.
    pub fn figure(&self, what: &str, value: &str) {
        line(format!("  {what:<44}{value}").trim_end());
    }

    fn note(&self, text: &str) {
        line(dim(format_args!("{:8}{:NAME_WIDTH$} · {text}", "", "")));
    }

    fn time(&self) -> String {
        let seconds = self.zero.elapsed().as_secs();
        dim(format_args!("{:3}:{:02} ", seconds / 60, seconds % 60))
    }
}
