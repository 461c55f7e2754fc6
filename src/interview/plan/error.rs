//! Mistakes in a plan, shown as a compiler shows them.

use std::fmt;
use std::ops::Range;

/// A plan that can't be used, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(|p| format!("{origin}{p}")).collect::<Vec<_>>().join("\n\n"))]
pub struct PlanError {
    /// The file.
    pub origin: String,
    /// At least one, in the order of the file.
    pub problems: Vec<PlanProblem>,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanProblem {
    /// Line and column, each from 1.
    pub position: Option<(u32, u32)>,
    /// The dotted path of the key, such as `sections[1].questions[0].text`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: Option<Box<Excerpt>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    columns: usize,
}

/// More of a long line is not shown.
const EXCERPT_CHARS_MAX: usize = 100;

impl PlanProblem {
    pub(super) fn new(
        body: &str,
        span: Option<Range<usize>>,
        key: String,
        message: String,
        help: Option<String>,
    ) -> Self {
        let span = span.filter(|s| body.get(s.clone()).is_some());
        let position = span.as_ref().map(|s| position(body, s.start));
        let excerpt = span.map(|s| Box::new(excerpt(body, &s)));
        Self {
            position,
            key,
            message,
            help,
            excerpt,
        }
    }
}

impl fmt::Display for PlanProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let (Some((line, column)), Some(excerpt)) = (self.position, &self.excerpt) {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(column.saturating_sub(1) as usize);
            let marks = "^".repeat(excerpt.columns);
            write!(
                f,
                "\n {margin} |\n {number} | {}\n {margin} | {indent}{marks}",
                excerpt.line
            )?;
        }
        match &self.help {
            Some(help) => write!(f, "\n   = {help}"),
            None => Ok(()),
        }
    }
}

fn position(body: &str, at: usize) -> (u32, u32) {
    let before = &body[..at];
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    (
        count(before.matches('\n').count()),
        count(before[line_start..].chars().count()),
    )
}

fn excerpt(body: &str, span: &Range<usize>) -> Excerpt {
    let start = body[..span.start].rfind('\n').map_or(0, |n| n + 1);
    let end = body[span.start..]
        .find('\n')
        .map_or(body.len(), |n| span.start + n);
    let line: String = body[start..end].chars().take(EXCERPT_CHARS_MAX).collect();
    let before = body[start..span.start].chars().count();
    let room = line.chars().count().saturating_sub(before);
    let marked = body[span.start..span.end.min(end).max(span.start)]
        .chars()
        .count();
    Excerpt {
        columns: marked.min(room).max(1),
        // A tab would shift the marks below it.
        line: line.replace('\t', " "),
    }
}
