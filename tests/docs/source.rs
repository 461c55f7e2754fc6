//! The constants of the source, the defaults of the settings and the lines of the units.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::quantity::Quantity;

/// A constant at the outermost level of a file.
#[derive(Debug)]
pub struct Constant {
    pub name: String,
    /// Its documentation in one line.
    pub doc: String,
    kind: String,
    expression: String,
}

/// Texts by their paths from the root.
#[derive(Debug)]
pub struct Source {
    texts: BTreeMap<String, String>,
    /// By file and name.
    constants: BTreeMap<(String, String), Constant>,
}

impl Source {
    /// Everything that has limits.
    pub fn read(root: &Path) -> Self {
        let mut texts = BTreeMap::new();
        for place in [
            "src",
            "libwebrtc/src",
            "tests/systemd/units",
            "viva.example.toml",
        ] {
            collect(root, &root.join(place), &mut texts);
        }
        Self::new(texts)
    }

    /// Made-up texts.
    pub fn of<const N: usize>(texts: [(&str, &str); N]) -> Self {
        Self::new(
            texts
                .into_iter()
                .map(|(path, text)| (path.to_owned(), text.to_owned()))
                .collect(),
        )
    }

    fn new(texts: BTreeMap<String, String>) -> Self {
        let mut constants = BTreeMap::new();
        for (path, text) in &texts {
            for constant in constants_of(path, text) {
                constants.insert((path.clone(), constant.name.clone()), constant);
            }
        }
        Self { texts, constants }
    }

    /// What must be in the table: waits, and what is called a maximum, a limit or a time. A rate and a moment are none.
    pub fn limits(&self) -> impl Iterator<Item = (&str, &Constant)> {
        let is_limit = |file: &str, constant: &Constant| {
            let is_integer = matches!(
                constant.kind.as_str(),
                "usize" | "u8" | "u16" | "u32" | "u64" | "i64"
            );
            let name = format!("{}_", constant.name);
            let is_bound = ["_MAX_", "_LIMIT_", "_MS_"]
                .iter()
                .any(|part| name.contains(part))
                && !["_PER_MS_", "_UNIX_MS_"]
                    .iter()
                    .any(|end| name.ends_with(end));
            // The engine's figures of signal processing are no limits of the service.
            constant.kind == "Duration" || (is_integer && is_bound && file.starts_with("src/"))
        };
        let constants = self
            .constants
            .iter()
            .map(|((file, _), constant)| (file.as_str(), constant));
        constants.filter(move |(file, constant)| is_limit(file, constant))
    }

    /// The value of a name in a file.
    pub fn value(&self, file: &str, name: &str) -> Result<Quantity, String> {
        let text = self.texts.get(file).ok_or("there is no such file")?;
        if file.ends_with(".toml") {
            return setting(text, name)
                .ok_or_else(|| "there is no such setting with a number".into());
        }
        if !file.ends_with(".rs") {
            return unit_line(text, name)
                .ok_or_else(|| "there is no such line with a value".into());
        }
        let constant = self.constants.get(&(file.to_owned(), name.to_owned()));
        let constant = constant.ok_or("there is no such constant")?;
        let value = self.evaluate(file, &constant.expression)?;
        let parts: Vec<_> = name.split('_').collect();
        let has = |part: &str| parts.contains(&part);
        Ok(if constant.kind == "Duration" || has("MS") {
            Quantity::Time(value)
        } else if has("MINUTES") {
            Quantity::Time(value * 60e3)
        } else if has("BYTES") {
            Quantity::Size(value)
        } else {
            Quantity::Count(value)
        })
    }

    /// A number; of a `Duration` its ms.
    fn evaluate(&self, file: &str, expression: &str) -> Result<f64, String> {
        let mut reading = Reading {
            source: self,
            file,
            rest: expression,
        };
        let value = reading.shift()?;
        if reading.rest.trim().is_empty() {
            Ok(value)
        } else {
            Err(format!(
                "{expression:?} is not understood from {:?} on",
                reading.rest
            ))
        }
    }

    /// A constant of the same file, else the only one of that name beside it, else the only one anywhere.
    fn named(&self, file: &str, name: &str) -> Result<f64, String> {
        let directory = |path: &str| {
            path.rsplit_once('/')
                .map(|(directory, _)| directory.to_owned())
        };
        let nearness: [&dyn Fn(&str) -> bool; 3] = [
            &|path| path == file,
            &|path| directory(path) == directory(file),
            &|_| true,
        ];
        for is_near in nearness {
            let mut found = self
                .constants
                .iter()
                .filter(|((path, other), _)| other == name && is_near(path));
            if let (Some(((path, _), only)), None) = (found.next(), found.next()) {
                return self.evaluate(path, &only.expression);
            }
        }
        Err(format!("which {name} is meant?"))
    }
}

/// What is left of an expression: sums, products, shifts, constants, `Duration::from_…`, casts.
struct Reading<'a> {
    source: &'a Source,
    file: &'a str,
    rest: &'a str,
}

impl<'a> Reading<'a> {
    fn shift(&mut self) -> Result<f64, String> {
        let mut value = self.sum()?;
        while self.take("<<") {
            value *= self.sum()?.exp2();
        }
        Ok(value)
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.product()?;
        while self.take("+") {
            value += self.product()?;
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<f64, String> {
        let mut value = self.factor()?;
        loop {
            if self.take("*") {
                value *= self.factor()?;
            } else if self.take("/") {
                value /= self.factor()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn factor(&mut self) -> Result<f64, String> {
        let mut value = if self.take("(") {
            self.closed()?
        } else {
            self.atom()?
        };
        loop {
            if self.take("as ") {
                self.word();
            } else if self.take(".saturating_add(") {
                value += self.closed()?;
            } else {
                return Ok(value);
            }
        }
    }

    /// The inside of a parenthesis that is open, and its end.
    fn closed(&mut self) -> Result<f64, String> {
        let value = self.shift()?;
        if self.take(")") {
            Ok(value)
        } else {
            Err(format!("a parenthesis is open before {:?}", self.rest))
        }
    }

    fn atom(&mut self) -> Result<f64, String> {
        let word = self.word();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word
                .replace('_', "")
                .parse()
                .map_err(|_| format!("{word} is no number"));
        }
        let ms = match word {
            "Duration::from_millis" => 1.0,
            "Duration::from_secs" => 1e3,
            "Duration::from_mins" => 60e3,
            "Duration::ZERO" => return Ok(0.0),
            _ => {
                return self
                    .source
                    .named(self.file, word.rsplit("::").next().unwrap_or(word));
            }
        };
        if self.take("(") {
            Ok(self.closed()? * ms)
        } else {
            Err(format!("{word} without its number"))
        }
    }

    fn take(&mut self, sign: &str) -> bool {
        let Some(rest) = self.rest.trim_start().strip_prefix(sign) else {
            return false;
        };
        self.rest = rest;
        true
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let is_number = rest.starts_with(|c: char| c.is_ascii_digit());
        let is_part =
            |c: char| c.is_alphanumeric() || c == '_' || c == if is_number { '.' } else { ':' };
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }
}

fn collect(root: &Path, place: &Path, texts: &mut BTreeMap<String, String>) {
    if place.is_dir() {
        for entry in fs::read_dir(place).expect("a directory") {
            collect(root, &entry.expect("an entry").path(), texts);
        }
        return;
    }
    let path = place
        .strip_prefix(root)
        .expect("a path of the root")
        .display()
        .to_string();
    if let Ok(text) = fs::read_to_string(place) {
        texts.insert(path, text);
    }
}

/// The constants that are not indented: those of tests and of functions are.
fn constants_of(path: &str, text: &str) -> Vec<Constant> {
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    if is_test || !path.ends_with(".rs") {
        return Vec::new();
    }
    let lines: Vec<_> = text.lines().collect();
    let starts = |line: &str| {
        let line = line.strip_prefix("pub").map_or(line, |rest| {
            let scope = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            scope.map_or(rest, |(_, rest)| rest).trim_start()
        });
        line.strip_prefix("const ").map(str::to_owned)
    };
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(mut text) = starts(line) else {
            continue;
        };
        for more in &lines[index + 1..] {
            if text.contains(';') {
                break;
            }
            text.push_str(more);
        }
        let declared = text
            .split_once(';')
            .and_then(|(all, _)| all.split_once(": "));
        let Some((name, (kind, expression))) =
            declared.and_then(|(name, rest)| Some((name, rest.split_once(" = ")?)))
        else {
            continue;
        };
        let docs = lines[..index]
            .iter()
            .rev()
            .map_while(|line| line.strip_prefix("/// "));
        let docs: Vec<_> = docs.collect();
        found.push(Constant {
            name: name.to_owned(),
            doc: docs.into_iter().rev().collect::<Vec<_>>().join(" "),
            kind: kind.to_owned(),
            expression: expression.to_owned(),
        });
    }
    found
}

/// The number of `section.key` in a file of settings.
fn setting(text: &str, name: &str) -> Option<Quantity> {
    let (section, key) = name.split_once('.')?;
    let header = format!("[{section}]");
    let inside = text.lines().skip_while(|line| *line != header).skip(1);
    let mut inside = inside.take_while(|line| !line.starts_with('['));
    let value = inside.find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))?;
    let value: f64 = value.trim().parse().ok()?;
    Some(if key.ends_with("_ms") {
        Quantity::Time(value)
    } else {
        Quantity::Count(value)
    })
}

/// The value of a line of a unit. systemd's M is MiB.
fn unit_line(text: &str, name: &str) -> Option<Quantity> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    match value.strip_suffix('M') {
        Some(number) => Quantity::read(&format!("{number} MiB")),
        None => Quantity::read(value),
    }
}

/// Whether the text has the word, whole.
pub fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|other| other == word)
}
