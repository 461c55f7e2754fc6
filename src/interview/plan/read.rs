//! Reads a plan from TOML and checks that an interview can be held by it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{
    FOLLOW_UPS_DEFAULT, FOLLOW_UPS_MAX, INTERVIEWER_DEFAULT, PLAN_BYTES_MAX, Plan, PlanError,
    PlanProblem, QUESTIONS_MAX, Question, SECTIONS_MAX, TEXT_CHARS_MAX, TIME_MINUTES_MAX,
    TITLE_CHARS_MAX,
};
use crate::misspelt::explain;

// Every key is optional here, so that all that is missing is reported together and in our words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlan {
    title: Option<Spanned<String>>,
    interviewer: Option<Spanned<String>>,
    intro: Option<Spanned<String>>,
    closing: Option<Spanned<String>>,
    time_minutes: Option<Spanned<i64>>,
    #[serde(default)]
    sections: Vec<Spanned<RawSection>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSection {
    title: Option<Spanned<String>>,
    #[serde(default)]
    questions: Vec<Spanned<RawQuestion>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuestion {
    id: Option<Spanned<String>>,
    text: Option<Spanned<String>>,
    follow_ups_max: Option<Spanned<i64>>,
    time_minutes: Option<Spanned<i64>>,
}

pub(super) fn read(body: String, hash: String, origin: &str) -> Result<Plan, PlanError> {
    let fail = |problems| PlanError {
        origin: origin.to_owned(),
        problems,
    };
    if body.len() > PLAN_BYTES_MAX {
        let message = format!(
            "the plan has {} bytes; {PLAN_BYTES_MAX} is the most",
            body.len()
        );
        return Err(fail(vec![PlanProblem::new(
            "",
            None,
            String::new(),
            message,
            None,
        )]));
    }
    let raw = grammar(&body).map_err(|problem| fail(vec![problem]))?;
    let mut check = Check {
        body: &body,
        problems: Vec::new(),
    };
    let content = check.plan(raw);
    if !check.problems.is_empty() {
        check.problems.sort_by_key(|p| p.position);
        return Err(fail(check.problems));
    }
    Ok(Plan {
        body,
        hash,
        title: content.title,
        interviewer: content.interviewer,
        intro: content.intro,
        closing: content.closing,
        time_ms: content.time_ms,
        sections: content.sections,
        questions: content.questions,
    })
}

fn grammar(body: &str) -> Result<RawPlan, PlanProblem> {
    let broken = |key: String, e: toml::de::Error| {
        let (message, help) = explain(e.message());
        PlanProblem::new(body, e.span(), key, message, help)
    };
    let toml = toml::Deserializer::parse(body).map_err(|e| broken(String::new(), e))?;
    serde_path_to_error::deserialize(toml).map_err(|e| {
        let path = e.path().to_string();
        // What toml's Spanned calls itself inside is nobody's key.
        let path = path.replace(".$__serde_spanned_private_value", "");
        let key = if path == "." { String::new() } else { path };
        broken(key, e.into_inner())
    })
}

#[derive(Default)]
struct Content {
    title: String,
    interviewer: String,
    intro: Option<String>,
    closing: Option<String>,
    time_ms: u64,
    sections: Vec<String>,
    questions: Vec<Question>,
}

struct Check<'a> {
    body: &'a str,
    problems: Vec<PlanProblem>,
}

impl Check<'_> {
    fn plan(&mut self, raw: RawPlan) -> Content {
        let mut content = Content {
            title: self.text(
                raw.title,
                None,
                "title",
                TITLE_CHARS_MAX,
                "title = \"Backend engineer\"",
            ),
            interviewer: INTERVIEWER_DEFAULT.to_owned(),
            time_ms: self.time(raw.time_minutes, "time_minutes"),
            ..Content::default()
        };
        if let Some(name) = raw.interviewer {
            content.interviewer = self.text(Some(name), None, "interviewer", TITLE_CHARS_MAX, "");
        }
        content.intro = raw
            .intro
            .map(|t| self.text(Some(t), None, "intro", TEXT_CHARS_MAX, ""));
        content.closing = raw
            .closing
            .map(|t| self.text(Some(t), None, "closing", TEXT_CHARS_MAX, ""));
        if raw.sections.is_empty() {
            self.wrong(
                None,
                "sections",
                "the plan has no section",
                Some("add [[sections]] with a title and [[sections.questions]] below it"),
            );
        }
        if raw.sections.len() > SECTIONS_MAX {
            let message = format!(
                "the plan has {} sections; {SECTIONS_MAX} is the most",
                raw.sections.len()
            );
            self.wrong(None, "sections", &message, None);
        }
        for (at, section) in raw.sections.into_iter().enumerate() {
            self.section(at, section, &mut content);
        }
        if content.questions.len() > QUESTIONS_MAX {
            let message = format!(
                "the plan has {} questions; {QUESTIONS_MAX} is the most",
                content.questions.len()
            );
            self.wrong(None, "sections", &message, None);
        }
        content
    }

    fn section(&mut self, at: usize, raw: Spanned<RawSection>, content: &mut Content) {
        let span = raw.span();
        let raw = raw.into_inner();
        let key = format!("sections[{at}]");
        let title = self.text(
            raw.title,
            Some(span.clone()),
            &format!("{key}.title"),
            TITLE_CHARS_MAX,
            "title = \"Databases\"",
        );
        if raw.questions.is_empty() {
            self.wrong(
                Some(span),
                &format!("{key}.questions"),
                "the section has no question",
                Some("add [[sections.questions]] with a text, or take the section out"),
            );
        }
        content.sections.push(title);
        let mut places: BTreeMap<String, usize> = content
            .questions
            .iter()
            .enumerate()
            .map(|(n, q)| (q.id.clone(), n + 1))
            .collect();
        for (n, question) in raw.questions.into_iter().enumerate() {
            let key = format!("{key}.questions[{n}]");
            let number = content.questions.len() + 1;
            let id_span = question
                .get_ref()
                .id
                .as_ref()
                .map_or_else(|| question.span(), Spanned::span);
            let question = self.question(&key, number, at, question);
            if let Some(before) = places.insert(question.id.clone(), number) {
                let message = format!(
                    "the id `{}` is taken by question {before} of the plan",
                    question.id
                );
                self.wrong(
                    Some(id_span),
                    &format!("{key}.id"),
                    &message,
                    Some("give each question an id of its own, or none"),
                );
            }
            content.questions.push(question);
        }
    }

    fn question(
        &mut self,
        key: &str,
        number: usize,
        section: usize,
        raw: Spanned<RawQuestion>,
    ) -> Question {
        let span = raw.span();
        let raw = raw.into_inner();
        let id = match raw.id {
            Some(id) => self.id(id, &format!("{key}.id")),
            None => format!("q{number}"),
        };
        let text = self.text(
            raw.text,
            Some(span),
            &format!("{key}.text"),
            TEXT_CHARS_MAX,
            "text = \"What does an index cost?\"",
        );
        let time_ms = raw
            .time_minutes
            .map(|t| self.time(Some(t), &format!("{key}.time_minutes")));
        let follow_ups_max = match raw.follow_ups_max {
            None => FOLLOW_UPS_DEFAULT,
            Some(n) => match u32::try_from(*n.get_ref()) {
                Ok(n) if n <= FOLLOW_UPS_MAX => n,
                _ => {
                    let message = format!("{} follow-ups can't be asked for", n.get_ref());
                    let help = format!("0 to {FOLLOW_UPS_MAX}");
                    self.wrong(
                        Some(n.span()),
                        &format!("{key}.follow_ups_max"),
                        &message,
                        Some(&help),
                    );
                    0
                }
            },
        };
        Question {
            section,
            id,
            text,
            follow_ups_max,
            time_ms,
        }
    }

    /// A text that is spoken or shown: there, not empty, not endless, without control characters.
    fn text(
        &mut self,
        value: Option<Spanned<String>>,
        table: Option<Range<usize>>,
        key: &str,
        chars_max: usize,
        example: &str,
    ) -> String {
        let Some(value) = value else {
            let name = key.rsplit('.').next().unwrap_or(key);
            self.wrong(
                table,
                key,
                &format!("`{name}` is missing"),
                Some(&format!("for example {example}")),
            );
            return String::new();
        };
        let (span, value) = (value.span(), value.into_inner());
        let text = value.split_whitespace().collect::<Vec<_>>().join(" ");
        let chars = text.chars().count();
        if !text.chars().any(char::is_alphanumeric) {
            self.wrong(
                Some(span),
                key,
                "there is nothing to say in this text",
                Some("write at least one word, or take the key out where it is optional"),
            );
        } else if chars > chars_max {
            let message = format!("the text has {chars} characters; {chars_max} is the most");
            self.wrong(
                Some(span),
                key,
                &message,
                Some("a candidate has to keep it in mind: shorten it"),
            );
        } else if let Some(c) = text.chars().find(|c| c.is_control()) {
            let message = format!("the text has the control character {c:?}");
            self.wrong(
                Some(span),
                key,
                &message,
                Some("it can't be spoken: take it out"),
            );
        }
        text
    }

    fn id(&mut self, value: Spanned<String>, key: &str) -> String {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let text = value.get_ref();
        if text.is_empty() || text.len() > TITLE_CHARS_MAX || !text.chars().all(good) {
            self.wrong(
                Some(value.span()),
                key,
                "this can't be an id",
                Some("1 to 200 of A-Z a-z 0-9 _ . -"),
            );
        }
        value.into_inner()
    }

    /// Minutes as milliseconds.
    fn time(&mut self, value: Option<Spanned<i64>>, key: &str) -> u64 {
        let range = format!("between 1 and {TIME_MINUTES_MAX}");
        let Some(value) = value else {
            self.wrong(
                None,
                key,
                "`time_minutes` is missing",
                Some("for example time_minutes = 30"),
            );
            return 0;
        };
        match u32::try_from(*value.get_ref()) {
            Ok(minutes) if (1..=TIME_MINUTES_MAX).contains(&minutes) => u64::from(minutes) * 60_000,
            _ => {
                let message = format!("{} minutes is not a time to plan with", value.get_ref());
                self.wrong(Some(value.span()), key, &message, Some(&range));
                0
            }
        }
    }

    fn wrong(&mut self, span: Option<Range<usize>>, key: &str, message: &str, help: Option<&str>) {
        self.problems.push(PlanProblem::new(
            self.body,
            span,
            key.to_owned(),
            message.to_owned(),
            help.map(str::to_owned),
        ));
    }
}
