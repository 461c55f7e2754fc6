//! Journals that are there before a start, and what can have happened to them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;

use super::scratch::PLAN;
use crate::interview::plan::Plan;
use crate::interview::{Event, InterviewId, Recorded};
use crate::journal::{JOURNAL_FILE, Journal, NewInterview};

/// Interviews in a journal that is there before the start: enough for some dozens of pages.
const INTERVIEWS: u32 = 24;
/// The size of SQLite's pages.
const PAGE_BYTES: u64 = 4096;
/// In front of the WAL's first frame.
const WAL_HEADER_BYTES: u64 = 32;

/// The wall clock in ten years, at the least.
pub(super) const IN_TEN_YEARS_UNIX_MS: u64 = 2_100_000_000_000;
/// A wall clock that is right.
pub(super) const NOW_UNIX_MS: u64 = 1_790_000_000_000;

/// A journal with live interviews that were begun at this time, closed in good order, most of it still in its WAL.
pub(super) async fn write(state: &Path, at_unix_ms: u64) -> io::Result<()> {
    let journal = Journal::open(state).map_err(io::Error::other)?;
    let plan = Plan::parse(PLAN, "demo.toml").map_err(io::Error::other)?;
    for number in 0..INTERVIEWS {
        let id = InterviewId::new(format!("before-{number}")).map_err(io::Error::other)?;
        let begun = journal.begin(NewInterview {
            id: id.clone(),
            room: format!("interview-{id}"),
            plan_name: "demo".into(),
            plan_hash: plan.hash().to_owned(),
            plan_body: plan.body().to_owned(),
            candidate: None,
            at_unix_ms,
        });
        begun.await.map_err(io::Error::other)?;
        let joined = (1..=INTERVIEWS.into()).map(|seq| Recorded {
            seq,
            at_unix_ms: at_unix_ms + seq,
            elapsed_ms: seq,
            event: Event::CandidateJoined {
                identity: format!("candidate-{number}"),
            },
        });
        let appended = journal.append(&id, joined.collect());
        appended.await.map_err(io::Error::other)?;
    }
    journal.close().await.map_err(io::Error::other)
}

/// Brings all of the WAL into the journal's own file.
fn bring_in(file: &Path) -> io::Result<()> {
    let connection = Connection::open(file).map_err(io::Error::other)?;
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(io::Error::other)
}

/// Noise in the place of a page that is not the first.
pub(super) fn damage_a_page(file: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    let at = page_to_lose(file, random)?;
    overwrite(file, random, at)
}

/// The end is gone from a page on that is not the first.
pub(super) fn truncate(file: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    let end = page_to_lose(file, random)?;
    File::options().write(true).open(file)?.set_len(end)
}

/// Noise somewhere behind the header of the WAL.
pub(super) fn damage_the_wal(state: &Path, random: &mut fastrand::Rng) -> io::Result<()> {
    let wal = state.join(format!("{JOURNAL_FILE}-wal"));
    let length = fs::metadata(&wal)?.len();
    let at = random.u64(WAL_HEADER_BYTES..length.saturating_sub(PAGE_BYTES));
    overwrite(&wal, random, at)
}

/// A page that means nothing.
pub(super) fn noise(random: &mut fastrand::Rng) -> Vec<u8> {
    (0..PAGE_BYTES).map(|_| random.u8(..)).collect()
}

/// Where a page begins that is not the first, once all of the journal is in its own file.
fn page_to_lose(file: &Path, random: &mut fastrand::Rng) -> io::Result<u64> {
    bring_in(file)?;
    let pages = fs::metadata(file)?.len() / PAGE_BYTES;
    Ok(random.u64(1..pages) * PAGE_BYTES)
}

fn overwrite(file: &Path, random: &mut fastrand::Rng, at: u64) -> io::Result<()> {
    File::options()
        .write(true)
        .open(file)?
        .write_all_at(&noise(random), at)
}
