//! Puts events into Postgres, all of a batch in one transaction, and says for each interview what came of it.
//!
//! An event that is there with the same hash is as good as sent, whoever sent it and whenever: a batch whose answer
//! was lost is sent again. One that contradicts what is there goes into quarantine, with all behind it.

use std::collections::HashMap;

use sqlx::{Connection, PgConnection};

use super::Appliance;
use super::batch::{Batch, int, seconds, uint};
use super::judge::{Head, Reason, Verdict, judge};
use super::leases::LEASE;
use super::project::storable;
use crate::journal::{InterviewRow, StoredEvent};

/// Events of one interview, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    pub(super) interview: InterviewRow,
    /// The text of its plan, where Postgres may not know the interview yet.
    pub(super) plan_body: Option<String>,
    pub(super) events: Vec<StoredEvent>,
}

/// What came of a parcel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receipt {
    /// The first so many events are in Postgres. The others, if there are any, do not follow them.
    Taken(usize),
    /// Postgres has only so many events of the interview: those before the parcel have to be sent again.
    Behind(u64),
    /// The first event does not follow the last one in Postgres. Either an event before it is another one there, or
    /// it is not what was written.
    Unchained,
    /// The first so many events are in Postgres, the others are in quarantine.
    Quarantined { taken: usize, reason: Reason },
    /// Postgres does not know the interview, and the parcel had no plan to add it with.
    Unknown,
    /// It was deleted, there or by another appliance.
    Deleted,
}

/// Delivers parcels, at most one of each interview; answers in their order.
pub(super) async fn deliver(
    connection: &mut PgConnection,
    mine: &Appliance,
    parcels: &[&Parcel],
) -> Result<Vec<Receipt>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Before any row is locked: a burial holds the lock that this waits for, and waits for rows.
    introduce(&mut transaction, mine, parcels).await?;
    let heads = lock_heads(&mut transaction, parcels).await?;
    let stored = stored_hashes(&mut transaction, parcels, &heads).await?;
    let buried = buried(&mut transaction, parcels, &heads).await?;
    let mut batch = Batch::default();
    let mut receipts = Vec::with_capacity(parcels.len());
    for parcel in parcels {
        let id = parcel.interview.id.as_str();
        let Some(head) = heads.get(id) else {
            let is_buried = buried.iter().any(|other| other == id);
            receipts.push(if is_buried {
                Receipt::Deleted
            } else {
                Receipt::Unknown
            });
            continue;
        };
        let hash_of = |seq: u64| stored.get(&(id, seq)).copied();
        receipts.push(match judge(head, &parcel.events, hash_of) {
            Verdict::Behind => Receipt::Behind(head.events),
            Verdict::Unchained => Receipt::Unchained,
            Verdict::Take {
                known,
                new,
                refused,
            } => {
                let refused_from = known + new;
                batch.add(parcel, &parcel.events[known..refused_from]);
                match refused {
                    None => Receipt::Taken(refused_from),
                    Some(reason) => {
                        batch.refuse(&parcel.events[refused_from..], reason);
                        Receipt::Quarantined {
                            taken: refused_from,
                            reason,
                        }
                    }
                }
            }
        });
    }
    batch.write(&mut transaction, &mine.name).await?;
    transaction.commit().await?;
    Ok(receipts)
}

/// Adds the interviews that come with their plan and are not there yet. The database itself leaves those out that
/// were deleted.
async fn introduce(
    connection: &mut PgConnection,
    mine: &Appliance,
    parcels: &[&Parcel],
) -> Result<(), sqlx::Error> {
    let mut new: Vec<&Parcel> = parcels
        .iter()
        .copied()
        .filter(|p| p.plan_body.is_some())
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    // Before a plan is found here that a burial is about to take away.
    sqlx::query!("SELECT pg_advisory_xact_lock_shared(1447645761, hashtext(current_schema()))")
        .execute(&mut *connection)
        .await?;
    new.sort_by(|a, b| a.interview.id.cmp(&b.interview.id));
    let mut plans: Vec<(&str, &str)> = new
        .iter()
        .filter_map(|p| Some((p.interview.plan_hash.as_str(), p.plan_body.as_deref()?)))
        .collect();
    plans.sort_unstable();
    plans.dedup();
    let (hashes, bodies): (Vec<&str>, Vec<&str>) = plans.into_iter().unzip();
    sqlx::query!(
        "INSERT INTO plans (hash, body) SELECT * FROM UNNEST($1::text[], $2::text[])
         ON CONFLICT DO NOTHING",
        &hashes as _,
        &bodies as _
    )
    .execute(&mut *connection)
    .await?;
    let of = |f: fn(&InterviewRow) -> &str| -> Vec<&str> {
        new.iter().map(|p| f(&p.interview)).collect()
    };
    let candidates: Vec<Option<String>> = new
        .iter()
        .map(|p| p.interview.candidate.as_deref().map(storable))
        .collect();
    let begun: Vec<i64> = new
        .iter()
        .map(|p| int(p.interview.begun_at_unix_ms))
        .collect();
    let begun_at: Vec<f64> = begun.iter().map(|ms| seconds(*ms)).collect();
    sqlx::query!(
        "INSERT INTO interviews (interview_id, room, candidate, plan_name, plan_hash, begun_at_unix_ms, begun_at,
           appliance, term)
         SELECT id, room, candidate, plan_name, plan_hash, begun, to_timestamp(begun_at), $8, 0
         FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::float8[])
           AS new (id, room, candidate, plan_name, plan_hash, begun, begun_at)
         ORDER BY id
         ON CONFLICT DO NOTHING",
        &of(|i| i.id.as_str()) as _,
        &of(|i| &i.room) as _,
        &candidates as _,
        &of(|i| &i.plan_name) as _,
        &of(|i| &i.plan_hash) as _,
        &begun,
        &begun_at,
        &mine.name as &str
    )
    .execute(&mut *connection)
    .await?;
    let (ids, terms): (Vec<&str>, Vec<i64>) = new
        .iter()
        .filter(|p| p.interview.ended.is_none() && p.interview.set_aside.is_none())
        .map(|p| (p.interview.id.as_str(), int(p.interview.term)))
        .unzip();
    // With its row, so that there is no moment in which somebody else could think that nobody conducts it.
    sqlx::query!(
        "INSERT INTO leases (interview_id, appliance, term, expires_at, livekit)
         SELECT id, $1, held.term, now() + make_interval(secs => $4), $5
         FROM UNNEST($2::text[], $3::bigint[]) AS held (id, term) JOIN interviews ON interview_id = id
         ORDER BY id ON CONFLICT DO NOTHING",
        &mine.name as &str,
        &ids as _,
        &terms,
        LEASE.as_secs_f64(),
        &mine.livekit as &str
    )
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// The ends of the interviews that are there, which nobody else can write to until the transaction is over.
async fn lock_heads(
    connection: &mut PgConnection,
    parcels: &[&Parcel],
) -> Result<HashMap<String, Head>, sqlx::Error> {
    let ids: Vec<&str> = parcels.iter().map(|p| p.interview.id.as_str()).collect();
    let rows = sqlx::query!(
        "SELECT interview_id, plan_hash, term, events, last_hash FROM interviews
         WHERE interview_id = ANY ($1::text[]) ORDER BY interview_id FOR UPDATE",
        &ids as _
    )
    .fetch_all(connection)
    .await?;
    let heads = rows.into_iter().map(|row| {
        let head = Head {
            term: uint(row.term),
            events: uint(row.events),
            hash: row.last_hash.and_then(|hash| hash.try_into().ok()),
            plan_hash: row.plan_hash,
        };
        (row.interview_id, head)
    });
    Ok(heads.collect())
}

/// The hashes of those events that are sent again.
async fn stored_hashes<'a>(
    connection: &mut PgConnection,
    parcels: &[&'a Parcel],
    heads: &HashMap<String, Head>,
) -> Result<HashMap<(&'a str, u64), [u8; 32]>, sqlx::Error> {
    let repeated: Vec<(&'a str, u64)> = parcels
        .iter()
        .flat_map(|p| p.events.iter().map(|e| (p.interview.id.as_str(), e.seq)))
        .filter(|(id, seq)| heads.get(*id).is_some_and(|head| *seq <= head.events))
        .collect();
    if repeated.is_empty() {
        return Ok(HashMap::new());
    }
    let (ids, seqs): (Vec<&str>, Vec<i64>) =
        repeated.iter().map(|(id, seq)| (*id, int(*seq))).unzip();
    let rows = sqlx::query!(
        r#"SELECT place AS "place!", hash FROM UNNEST($1::text[], $2::bigint[]) WITH ORDINALITY AS sent (id, number, place)
           JOIN events ON interview_id = id AND seq = number"#,
        &ids as _,
        &seqs
    )
    .fetch_all(connection)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        let place = usize::try_from(row.place).ok()?.checked_sub(1)?;
        Some((*repeated.get(place)?, row.hash.try_into().ok()?))
    });
    Ok(found.collect())
}

/// Which of the interviews that are not there were deleted.
async fn buried(
    connection: &mut PgConnection,
    parcels: &[&Parcel],
    heads: &HashMap<String, Head>,
) -> Result<Vec<String>, sqlx::Error> {
    let missing: Vec<&str> = parcels
        .iter()
        .map(|p| p.interview.id.as_str())
        .filter(|id| !heads.contains_key(*id))
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        "SELECT interview_id FROM tombstones WHERE interview_id = ANY ($1::text[])",
        &missing as _
    )
    .fetch_all(connection)
    .await
}
