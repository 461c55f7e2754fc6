//! Looks at every part of the file, damaged or not, and takes out of it what is whole.

use rusqlite::Connection;

use super::JournalReader;
use super::chain::{genesis, link};
use super::rows::{
    EVENT_COLUMNS, InterviewRow, StoredEvent, interview, interview_id, plan, stored_event,
};
use crate::interview::InterviewId;

/// SQLite stops to look for more damage here; one line of it is enough to act on.
const INTEGRITY_LINES_MAX: usize = 20;

/// What a look at the whole file found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// What SQLite says about the file; empty if it is in order.
    pub file: Vec<String>,
    /// Each interview of which anything can be read.
    pub interviews: Vec<Examined>,
}

/// An interview that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Its name.
    pub id: InterviewId,
    /// Its events that can be read.
    pub events: u64,
    /// What is wrong with it; empty if it is in order.
    pub damage: Vec<String>,
}

/// What could be read of an interview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Its name.
    pub id: InterviewId,
    /// Its row, if that is whole.
    pub interview: Option<InterviewRow>,
    /// The text of its plan, if that is whole.
    pub plan_body: Option<String>,
    /// Its events that can be read, in their order.
    pub events: Vec<StoredEvent>,
    /// What is wrong with it; empty if it is in order.
    pub damage: Vec<String>,
}

impl Examination {
    /// Whether everything is in order.
    pub fn is_whole(&self) -> bool {
        self.file.is_empty() && self.interviews.iter().all(|i| i.damage.is_empty())
    }
}

impl JournalReader {
    /// Reads the whole file and checks the chain of every interview. Takes its time on a large one.
    pub fn examine(&self) -> Examination {
        let mut file = self.integrity();
        let (ids, damage) = self.all_ids();
        file.extend(damage);
        let interviews = ids.into_iter().map(|id| {
            let salvaged = self.salvage(&id);
            Examined {
                id,
                events: salvaged.events.len() as u64,
                damage: salvaged.damage,
            }
        });
        Examination {
            interviews: interviews.collect(),
            file,
        }
    }

    /// The names of all interviews of which anything can be read, and what stood in the way.
    pub fn all_ids(&self) -> (Vec<InterviewId>, Vec<String>) {
        let mut ids = Vec::new();
        let mut damage = Vec::new();
        // From the events as well, and from both ends: a page that can't be read hides what lies behind it.
        for sql in [
            "SELECT id FROM interviews ORDER BY id",
            "SELECT id FROM interviews ORDER BY id DESC",
            "SELECT id FROM interviews NOT INDEXED",
            "SELECT DISTINCT interview_id FROM events ORDER BY interview_id",
            "SELECT DISTINCT interview_id FROM events ORDER BY interview_id DESC",
        ] {
            let end = each(self.connection(), sql, (), |row| {
                ids.push(interview_id(row, 0)?);
                Ok(())
            });
            if let Err(e) = end {
                damage.push(format!(
                    "the list of interviews can't be read to its end: {e}"
                ));
            }
        }
        ids.sort();
        ids.dedup();
        damage.dedup();
        (ids, damage)
    }

    /// Everything of an interview that can be read.
    pub fn salvage(&self, id: &InterviewId) -> Salvaged {
        let mut damage = Vec::new();
        let row = interview(self.connection(), self.schema(), id);
        let row = told(row, "its row can't be read", &mut damage);
        if row.is_none() && damage.is_empty() {
            damage.push("it has events and no row".into());
        }
        let plan_body = row.as_ref().and_then(|row| {
            let body = plan(self.connection(), &row.plan_hash);
            let body = told(body, "its plan can't be read", &mut damage);
            if body.is_none() {
                damage.push(format!("its plan {} is missing", row.plan_hash));
            }
            body
        });
        let events = self.readable_events(id, &mut damage);
        let mut hash = row.as_ref().map(|row| genesis(id, &row.plan_hash));
        let mut expected = 1;
        for event in &events {
            if event.seq != expected {
                damage.push(match event.seq.checked_sub(1) {
                    Some(last) if last > expected => {
                        format!("the events {expected} to {last} are missing")
                    }
                    _ => format!("event {expected} is missing"),
                });
            } else if hash.is_some_and(|hash| link(&hash, &event.link()) != event.hash) {
                damage.push(format!(
                    "event {} of term {} is not what was written",
                    event.seq, event.term
                ));
            }
            if let Err(e) = event.recorded() {
                damage.push(e.to_string());
            }
            hash = Some(event.hash);
            expected = event.seq + 1;
        }
        let over = row.as_ref().is_some_and(|row| row.ended.is_some());
        if over && events.last().is_none_or(|e| e.kind != "ended") {
            damage.push("it is over, and its last event is missing".into());
        }
        Salvaged {
            id: id.clone(),
            interview: row,
            plan_body,
            events,
            damage,
        }
    }

    /// Those before a damaged page from the one end, those behind it from the other.
    fn readable_events(&self, id: &InterviewId, damage: &mut Vec<String>) -> Vec<StoredEvent> {
        let read = |order: &str, events: &mut Vec<StoredEvent>| {
            let sql = format!(
                "SELECT {EVENT_COLUMNS} FROM events WHERE interview_id = ?1 ORDER BY term {order}, seq {order}"
            );
            each(self.connection(), &sql, [id.as_str()], |row| {
                events.push(stored_event(row)?);
                Ok(())
            })
        };
        let mut events = Vec::new();
        if let Err(e) = read("ASC", &mut events) {
            damage.push(format!("not all of its events can be read: {e}"));
            let mut behind = Vec::new();
            // Its own end is the same damage, from the other side.
            let _ = read("DESC", &mut behind);
            events.extend(behind);
            events.sort_by_key(|e| (e.term, e.seq));
            events.dedup();
        }
        events
    }

    fn integrity(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let end = each(
            self.connection(),
            &format!("PRAGMA integrity_check({INTEGRITY_LINES_MAX})"),
            (),
            |row| {
                lines.push(row.get::<_, String>(0)?);
                Ok(())
            },
        );
        if let Err(e) = end {
            lines.push(format!("the check of the file stopped: {e}"));
        }
        lines.retain(|line| line != "ok");
        lines
    }
}

/// Calls `take` for each row until there are no more or one can't be read.
fn each(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn told<T>(read: rusqlite::Result<Option<T>>, what: &str, damage: &mut Vec<String>) -> Option<T> {
    read.unwrap_or_else(|e| {
        damage.push(format!("{what}: {e}"));
        None
    })
}
