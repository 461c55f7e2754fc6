//! The links of a Markdown text.

/// `[text](target)` in a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Counted from 1.
    pub line: usize,
    /// What is shown.
    pub text: String,
    /// Where it leads.
    pub target: String,
}

impl Link {
    /// The file that it leads to, where it leads to one of this repository.
    pub fn file(&self) -> Option<&str> {
        let path = self.target.split('#').next().unwrap_or_default();
        let is_elsewhere = self.target.contains("://") || self.target.starts_with("mailto:");
        (!is_elsewhere && !path.is_empty()).then_some(path)
    }

    /// The name that is said to be in that file: the last part of a text that is code and is not the file's own name.
    pub fn name(&self) -> Option<&str> {
        let code = code(&self.text)?;
        let is_own = self.file()?.ends_with(code);
        let name = code.trim_end_matches("()").rsplit("::").next()?;
        (!is_own && is_word(name)).then_some(name)
    }
}

/// What stands between backticks, where that is all.
pub fn code(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('`')?.strip_suffix('`')?;
    (!inner.contains('`')).then_some(inner)
}

fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// All links outside of blocks of code.
pub fn of(markdown: &str) -> Vec<Link> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (index, line) in markdown.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            rest = after;
            let (Some((_, text)), Some((target, _))) =
                (before.rsplit_once('['), after.split_once(')'))
            else {
                continue;
            };
            found.push(Link {
                line: index + 1,
                text: text.to_owned(),
                target: target.to_owned(),
            });
        }
    }
    found
}
