//! Takes interviews out of the file for good.

use rusqlite::{Connection, OptionalExtension};

use super::write::Heads;
use crate::interview::InterviewId;

/// A plan goes with the last interview that follows it. `secure_delete` overwrites what was there. Counts
/// those that were there.
pub(super) fn erase(
    connection: &Connection,
    heads: &mut Heads,
    ids: &[InterviewId],
) -> rusqlite::Result<u64> {
    let mut erased = 0;
    for id in ids {
        let plan: Option<String> = connection
            .prepare_cached("SELECT plan_hash FROM interviews WHERE id = ?1")?
            .query_row([id.as_str()], |row| row.get(0))
            .optional()?;
        let Some(plan) = plan else { continue };
        heads.remove(id);
        connection.execute("DELETE FROM events WHERE interview_id = ?1", [id.as_str()])?;
        connection.execute("DELETE FROM interviews WHERE id = ?1", [id.as_str()])?;
        connection.execute(
            "DELETE FROM plans WHERE hash = ?1
             AND NOT EXISTS (SELECT 1 FROM interviews WHERE plan_hash = ?1)",
            [plan],
        )?;
        erased += 1;
    }
    Ok(erased)
}

/// Interviews that are over since before a moment, or that were set aside then: somebody else may have ended those.
pub(super) fn ended_before(
    connection: &Connection,
    unix_ms: u64,
) -> rusqlite::Result<Vec<InterviewId>> {
    connection
        .prepare("SELECT id FROM interviews WHERE coalesce(ended_at_unix_ms, set_aside_at_unix_ms) < ?1 ORDER BY id")?
        .query_map([unix_ms], |row| super::rows::interview_id(row, 0))?
        .collect()
}
