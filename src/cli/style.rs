//! How the terminal is written on: colours where it has them, one place that prints. Who reads no more is told no more, and what
//! was begun goes on.

use std::fmt::Display;
use std::io::Write;

use owo_colors::{OwoColorize, Stream, Style};

/// A line on standard output.
pub fn line(text: impl Display) {
    let _written = writeln!(std::io::stdout(), "{text}");
}

/// A line on standard error that says what went wrong.
pub fn error(text: impl Display) {
    let name = "viva:".if_supports_color(Stream::Stderr, |t| t.style(Style::new().red().bold()));
    let _written = writeln!(std::io::stderr(), "{name} {text}");
}

/// Text in a style, where standard output has colours.
pub fn styled(text: impl Display, style: Style) -> String {
    text.if_supports_color(Stream::Stdout, |t| t.style(style))
        .to_string()
}

/// Quiet text: what one may skip.
pub fn dim(text: impl Display) -> String {
    styled(text, Style::new().dimmed())
}

/// Text that names.
pub fn bold(text: impl Display) -> String {
    styled(text, Style::new().bold())
}

/// Pads plain text to `width` before it is styled, so that columns line up with and without colours.
pub fn column(text: &str, width: usize, style: Style) -> String {
    styled(format!("{text:<width$}"), style)
}

/// Breaks text into lines of at most `width` characters at its spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
