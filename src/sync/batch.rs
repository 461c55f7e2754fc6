//! What one transaction writes: events, what can be read of them, and what is refused, column by column.

use sqlx::PgConnection;

use super::copy::Parcel;
use super::judge::Reason;
use super::project::{CANDIDATE, HeardTurn, INTERVIEWER, Readable, Turn, readable};
use crate::interview::InterviewId;
use crate::journal::StoredEvent;

/// The last moment that PostgreSQL's `to_timestamp` and every reader of it can take: the end of the year 9999.
const LATEST_UNIX_MS: i64 = 253_402_300_799_999;

/// The channel on which the end of an interview is told.
const CHANNEL: &str = "viva_interview_ended";

/// What a transaction writes, table by table and column by column.
#[derive(Default)]
pub(super) struct Batch<'a> {
    events: Vec<&'a StoredEvent>,
    refused: Vec<(&'a StoredEvent, Reason)>,
    turns: Vec<(&'a StoredEvent, Turn)>,
    heard: Vec<(&'a InterviewId, HeardTurn)>,
    ends: Vec<End<'a>>,
}

/// What becomes of an interview's row.
struct End<'a> {
    last: &'a StoredEvent,
    ended: Option<(i64, &'static str)>,
    turns: i64,
}

impl<'a> Batch<'a> {
    /// Events that are new, of one interview.
    pub(super) fn add(&mut self, parcel: &'a Parcel, events: &'a [StoredEvent]) {
        let Some(last) = events.last() else { return };
        let mut end = End {
            last,
            ended: None,
            turns: 0,
        };
        for event in events {
            self.events.push(event);
            match readable(event) {
                Readable::Turn(turn) => {
                    end.turns += i64::from(turn.speaker == CANDIDATE);
                    self.turns.push((event, turn));
                }
                Readable::Heard(heard) => self.heard.push((&parcel.interview.id, heard)),
                Readable::Ended(reason) => end.ended = Some((int(event.at_unix_ms), reason)),
                Readable::Nothing => {}
            }
        }
        self.ends.push(end);
    }

    pub(super) fn refuse(&mut self, events: &'a [StoredEvent], reason: Reason) {
        let reasons = std::iter::once(reason).chain(std::iter::repeat(Reason::AfterAnother));
        self.refused.extend(events.iter().zip(reasons));
    }

    pub(super) async fn write(
        self,
        connection: &mut PgConnection,
        appliance: &str,
    ) -> Result<(), sqlx::Error> {
        if !self.events.is_empty() {
            self.write_events(connection).await?;
            self.write_turns(connection).await?;
            self.write_heard(connection).await?;
            self.write_interviews(connection, appliance).await?;
            self.tell(connection).await?;
        }
        if !self.refused.is_empty() {
            self.write_refused(connection, appliance).await?;
        }
        Ok(())
    }

    async fn write_events(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let columns = Columns::of(self.events.iter().copied());
        sqlx::query!(
            "INSERT INTO events (interview_id, seq, term, at_unix_ms, elapsed_ms, kind, payload, hash)
             SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
               $7::text[], $8::bytea[])",
            &columns.ids as _,
            &columns.seqs,
            &columns.terms,
            &columns.at,
            &columns.elapsed,
            &columns.kinds as _,
            &columns.payloads as _,
            &columns.hashes as _
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_refused(
        &self,
        connection: &mut PgConnection,
        appliance: &str,
    ) -> Result<(), sqlx::Error> {
        let columns = Columns::of(self.refused.iter().map(|(event, _)| *event));
        let reasons: Vec<&str> = self
            .refused
            .iter()
            .map(|(_, reason)| reason.name())
            .collect();
        sqlx::query!(
            "INSERT INTO quarantine (interview_id, seq, term, at_unix_ms, elapsed_ms, kind, payload, hash, reason,
               appliance)
             SELECT *, $10 FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[],
               $7::text[], $8::bytea[], $9::text[])
             ON CONFLICT DO NOTHING",
            &columns.ids as _,
            &columns.seqs,
            &columns.terms,
            &columns.at,
            &columns.elapsed,
            &columns.kinds as _,
            &columns.payloads as _,
            &columns.hashes as _,
            &reasons as _,
            appliance
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_turns(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.turns.is_empty() {
            return Ok(());
        }
        let texts = |f: fn(&Turn) -> &str| -> Vec<&str> {
            self.turns.iter().map(|(_, turn)| f(turn)).collect()
        };
        let numbers = |f: fn(&Turn) -> Option<i64>| -> Vec<Option<i64>> {
            self.turns.iter().map(|(_, turn)| f(turn)).collect()
        };
        let columns = Columns::of(self.turns.iter().map(|(event, _)| *event));
        let at: Vec<f64> = columns.at.iter().map(|ms| seconds(*ms)).collect();
        let engines: Vec<Option<&str>> = self
            .turns
            .iter()
            .map(|(_, t)| t.engine.as_deref())
            .collect();
        sqlx::query!(
            "INSERT INTO turns (interview_id, seq, at, speaker, number, question, role, text, engine, speech_ms)
             SELECT id, seq, to_timestamp(at), speaker, number, question, role, said, engine, speech_ms
             FROM UNNEST($1::text[], $2::bigint[], $3::float8[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
               $8::text[], $9::text[], $10::bigint[])
               AS new (id, seq, at, speaker, number, question, role, said, engine, speech_ms)",
            &columns.ids as _,
            &columns.seqs,
            &at,
            &texts(|turn| turn.speaker) as _,
            &numbers(|turn| Some(turn.number)) as _,
            &numbers(|turn| turn.question) as _,
            &texts(|turn| turn.role) as _,
            &texts(|turn| &turn.text) as _,
            &engines as _,
            &numbers(|turn| turn.speech_ms) as _
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_heard(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.heard.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = self.heard.iter().map(|(id, _)| id.as_str()).collect();
        let numbers: Vec<i64> = self.heard.iter().map(|(_, turn)| turn.number).collect();
        let heard: Vec<&str> = self.heard.iter().map(|(_, turn)| turn.heard).collect();
        let texts: Vec<Option<&str>> = self.heard.iter().map(|(_, t)| t.text.as_deref()).collect();
        let engines: Vec<Option<&str>> = self
            .heard
            .iter()
            .map(|(_, t)| t.engine.as_deref())
            .collect();
        sqlx::query!(
            "UPDATE turns SET heard = new.heard, heard_text = new.said, engine = new.engine
             FROM UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[])
               AS new (id, number, heard, said, engine)
             WHERE interview_id = new.id AND turns.number = new.number AND speaker = $6",
            &ids as _,
            &numbers,
            &heard as _,
            &texts as _,
            &engines as _,
            INTERVIEWER
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn write_interviews(
        &self,
        connection: &mut PgConnection,
        appliance: &str,
    ) -> Result<(), sqlx::Error> {
        let columns = Columns::of(self.ends.iter().map(|end| end.last));
        let at: Vec<f64> = columns.at.iter().map(|ms| seconds(*ms)).collect();
        let ended: Vec<Option<f64>> = self
            .ends
            .iter()
            .map(|e| e.ended.map(|(ms, _)| seconds(ms)))
            .collect();
        let reasons: Vec<Option<&str>> = self
            .ends
            .iter()
            .map(|e| e.ended.map(|(_, why)| why))
            .collect();
        let turns: Vec<i64> = self.ends.iter().map(|end| end.turns).collect();
        sqlx::query!(
            "UPDATE interviews SET events = new.seq, term = greatest(interviews.term, new.term), last_hash = new.hash,
               last_event_at = to_timestamp(new.at), ended_at = coalesce(ended_at, to_timestamp(new.ended)),
               end_reason = coalesce(end_reason, new.reason), turns = interviews.turns + new.turns, appliance = $9
             FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::float8[], $6::float8[], $7::text[],
               $8::bigint[]) AS new (id, seq, term, hash, at, ended, reason, turns)
             WHERE interview_id = new.id",
            &columns.ids as _,
            &columns.seqs,
            &columns.terms,
            &columns.hashes as _,
            &at,
            &ended as _,
            &reasons as _,
            &turns,
            appliance
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// With the commit, whoever listens knows that an interview is over, and finds all of it.
    async fn tell(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let over = self.ends.iter().filter(|end| end.ended.is_some());
        let (ids, reasons): (Vec<&str>, Vec<Option<&str>>) = over
            .map(|end| {
                (
                    end.last.interview_id.as_str(),
                    end.ended.map(|(_, why)| why),
                )
            })
            .unzip();
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "SELECT pg_notify($3, json_build_object('schema', current_schema(), 'interview_id', id, 'end_reason', reason)::text)
             FROM UNNEST($1::text[], $2::text[]) AS ended (id, reason)",
            &ids as _,
            &reasons as _,
            CHANNEL
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Events, column by column, as UNNEST takes them.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<&'a str>,
    seqs: Vec<i64>,
    terms: Vec<i64>,
    at: Vec<i64>,
    elapsed: Vec<i64>,
    kinds: Vec<&'a str>,
    payloads: Vec<&'a str>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(events: impl Iterator<Item = &'a StoredEvent>) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.ids.push(event.interview_id.as_str());
            columns.seqs.push(int(event.seq));
            columns.terms.push(int(event.term));
            columns.at.push(int(event.at_unix_ms));
            columns.elapsed.push(int(event.elapsed_ms));
            columns.kinds.push(&event.kind);
            columns.payloads.push(&event.payload);
            columns.hashes.push(&event.hash);
        }
        columns
    }
}

/// SQLite's integers are these, so nothing that comes from the journal is larger.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// For `to_timestamp`, which is exact to the millisecond up to there.
#[expect(clippy::cast_precision_loss, reason = "2^53 is far later")]
pub(super) fn seconds(unix_ms: i64) -> f64 {
    unix_ms.clamp(0, LATEST_UNIX_MS) as f64 / 1000.0
}
