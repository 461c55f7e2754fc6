//! The message that an interview is over, in the form of Standard Webhooks.

use serde::Serialize;

use crate::interview::report::utc;
use crate::journal::InterviewRow;

/// A message; the same interview makes the same one, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// What a receiver knows a repetition by.
    pub(super) id: String,
    pub(super) body: String,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    interview_id: &'a str,
    room: &'a str,
    candidate: Option<&'a str>,
    plan: &'a str,
    plan_hash: &'a str,
    begun_at_unix_ms: u64,
    ended_at_unix_ms: u64,
    end_reason: &'a str,
}

impl Message {
    pub(super) fn of(row: &InterviewRow) -> serde_json::Result<Self> {
        let (ended_at_unix_ms, end_reason) = match &row.ended {
            Some(ended) => (ended.at_unix_ms, ended.reason.as_str()),
            None => (row.begun_at_unix_ms, ""),
        };
        let body = Body {
            r#type: "interview.ended",
            timestamp: utc(ended_at_unix_ms)
                .replacen(' ', "T", 1)
                .replace(" UTC", "Z"),
            data: Data {
                interview_id: row.id.as_str(),
                room: &row.room,
                candidate: row.candidate.as_deref(),
                plan: &row.plan_name,
                plan_hash: &row.plan_hash,
                begun_at_unix_ms: row.begun_at_unix_ms,
                ended_at_unix_ms,
                end_reason,
            },
        };
        Ok(Self {
            id: format!("interview.ended.{}", row.id),
            body: serde_json::to_string(&body)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interview::InterviewId;
    use crate::journal::Ended;

    #[test]
    fn a_message_says_which_interview_is_over_and_how_it_ended() {
        let row = InterviewRow {
            id: InterviewId::new("a").unwrap(),
            room: "interview-a".into(),
            candidate: Some("ada".into()),
            plan_name: "demo".into(),
            plan_hash: "00".into(),
            term: 1,
            attempts: 0,
            set_aside: None,
            begun_at_unix_ms: 1_800_000_000_000,
            ended: Some(Ended {
                at_unix_ms: 1_800_000_060_000,
                reason: "completed".into(),
            }),
            events: 0,
        };
        let message = Message::of(&row).unwrap();
        assert_eq!(message.id, "interview.ended.a");
        assert_eq!(
            message.body,
            r#"{"type":"interview.ended","timestamp":"2027-01-15T08:01:00Z","data":{"interview_id":"a","room":"interview-a","candidate":"ada","plan":"demo","plan_hash":"00","begun_at_unix_ms":1800000000000,"ended_at_unix_ms":1800000060000,"end_reason":"completed"}}"#
        );
    }
}
