//! Takes in an interview that comes from elsewhere: what is here stays, what is missing is added behind it.

use rusqlite::Connection;

use super::carry::{Arrival, Arrived, CarriedInterview};
use super::chain::link;
use super::rows::StoredEvent;
use super::write::{Head, Heads, Trouble, find_head, store_plan};
use super::{Event, JournalError};
use crate::interview::InterviewId;

/// Why an interview that arrived unfinished is set aside.
pub const IMPORTED_CAUSE: &str = "it was imported unfinished";

pub(super) fn arrive(
    connection: &Connection,
    heads: &mut Heads,
    arrival: &Arrival,
    at_unix_ms: u64,
) -> Result<Arrived, Trouble> {
    let id = &arrival.interview.id;
    let mut arrived = Arrived {
        is_new: add_interview(connection, &arrival.interview, at_unix_ms)?,
        ..Arrived::default()
    };
    // It is looked up again, because its term may rise below.
    heads.remove(id);
    let mut head = find_head(connection, id)?;
    for event in &arrival.events {
        if event.interview_id != *id {
            return Err(JournalError::UnknownInterview {
                id: event.interview_id.clone(),
            }
            .into());
        }
        if event.seq <= head.seq {
            known(connection, event)?;
            arrived.known += 1;
            continue;
        }
        add_event(connection, id, &mut head, event)?;
        arrived.added += 1;
    }
    let term = head.term.max(arrival.interview.term);
    connection.execute(
        "UPDATE interviews SET term = max(term, ?2), sent = CASE WHEN ?3 THEN 0 ELSE sent END WHERE id = ?1",
        (id.as_str(), term, arrived.added > 0),
    )?;
    if arrived.is_new {
        connection.execute(
            "UPDATE interviews SET set_aside = ?2, set_aside_at_unix_ms = ?3
             WHERE id = ?1 AND ended_at_unix_ms IS NULL",
            (id.as_str(), IMPORTED_CAUSE, at_unix_ms),
        )?;
        // Whoever conducted it to its end has told that.
        connection.execute(
            "UPDATE interviews SET told = 1 WHERE id = ?1 AND ended_at_unix_ms IS NOT NULL",
            [id.as_str()],
        )?;
    }
    Ok(arrived)
}

/// Whether it was not here before.
fn add_interview(
    connection: &Connection,
    interview: &CarriedInterview,
    at_unix_ms: u64,
) -> Result<bool, Trouble> {
    let here: Option<String> = rusqlite::OptionalExtension::optional(connection.query_row(
        "SELECT plan_hash FROM interviews WHERE id = ?1",
        [interview.id.as_str()],
        |row| row.get(0),
    ))?;
    if let Some(plan_hash) = here {
        if plan_hash != interview.plan_hash {
            return Err(JournalError::Conflict {
                id: interview.id.clone(),
                what: format!(
                    "it follows the plan {plan_hash} here and {} there",
                    interview.plan_hash
                ),
            }
            .into());
        }
        return Ok(false);
    }
    let Some(body) = &interview.plan_body else {
        return Err(JournalError::UnknownPlan {
            hash: interview.plan_hash.clone(),
        }
        .into());
    };
    store_plan(
        connection,
        &interview.plan_name,
        &interview.plan_hash,
        body,
        at_unix_ms,
    )?;
    connection.execute(
        "INSERT INTO interviews (id, room, plan_name, plan_hash, term, begun_at_unix_ms, candidate)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            interview.id.as_str(),
            &interview.room,
            &interview.plan_name,
            &interview.plan_hash,
            interview.term,
            interview.begun_at_unix_ms,
            &interview.candidate,
        ),
    )?;
    Ok(true)
}

/// The event is here, and is the same.
fn known(connection: &Connection, event: &StoredEvent) -> Result<(), Trouble> {
    let same = connection
        .prepare_cached(
            "SELECT 1 FROM events WHERE (interview_id, term, seq) = (?1, ?2, ?3) AND hash = ?4",
        )?
        .exists((
            event.interview_id.as_str(),
            event.term,
            event.seq,
            event.hash,
        ))?;
    if same {
        return Ok(());
    }
    Err(JournalError::Conflict {
        id: event.interview_id.clone(),
        what: format!(
            "its event {} of term {} is another one here",
            event.seq, event.term
        ),
    }
    .into())
}

fn add_event(
    connection: &Connection,
    id: &InterviewId,
    head: &mut Head,
    event: &StoredEvent,
) -> Result<(), Trouble> {
    let broken = |cause: &str| {
        Trouble::from(JournalError::ChainBroken {
            id: id.clone(),
            term: event.term,
            seq: event.seq,
            cause: cause.into(),
        })
    };
    if head.ended {
        return Err(JournalError::AlreadyEnded { id: id.clone() }.into());
    }
    if event.seq != head.seq + 1 {
        return Err(broken(&format!(
            "event {} is missing before it",
            head.seq + 1
        )));
    }
    if link(&head.hash, &event.link()) != event.hash {
        return Err(broken(
            "its content or the one before it is not what was written",
        ));
    }
    let recorded = event.recorded()?;
    connection
        .prepare_cached(
            "INSERT INTO events (interview_id, term, seq, at_unix_ms, elapsed_ms, kind, payload, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            id.as_str(),
            event.term,
            event.seq,
            event.at_unix_ms,
            event.elapsed_ms,
            &event.kind,
            &event.payload,
            event.hash,
        ))?;
    if let Event::Ended { reason } = &recorded.event {
        connection.execute(
            "UPDATE interviews SET ended_at_unix_ms = ?2, end_reason = ?3, set_aside = NULL WHERE id = ?1",
            (id.as_str(), event.at_unix_ms, reason.name()),
        )?;
        head.ended = true;
    }
    head.term = head.term.max(event.term);
    head.seq = event.seq;
    head.hash = event.hash;
    Ok(())
}
