//! Brings the schema in Postgres to this release's version, and keeps away from what is not ours.

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::error::SyncError;
use super::link::Link;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// In order; the place of one, from 1, is the schema's version after it. They add and never take away, so that an
/// earlier release can go on writing unless `meta.min_writer` says otherwise.
const MIGRATIONS: [Migration; 4] = [
    Migration {
        name: "0001_copy",
        sql: include_str!("../../migrations/postgres/0001_copy.sql"),
    },
    Migration {
        name: "0002_appliances",
        sql: include_str!("../../migrations/postgres/0002_appliances.sql"),
    },
    Migration {
        name: "0003_leases",
        sql: include_str!("../../migrations/postgres/0003_leases.sql"),
    },
    Migration {
        name: "0004_takeover",
        sql: include_str!("../../migrations/postgres/0004_takeover.sql"),
    },
];

/// The version of this release.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// Arrays of bytea, identity columns and what else the migrations use are older; earlier servers are out of support.
const SERVER_VERSION_MIN: i32 = 130_000;

/// What `meta` says in a schema of ours.
const APPLICATION: &str = "viva";
const UNDEFINED_COLUMN: &str = "42703";

/// What is in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it is not there, or empty.
    Empty,
    /// Our tables, of this version.
    Ours(i32),
}

/// Looks without writing whether the copy can be kept there.
pub(super) async fn look(
    link: &Link,
    connection: &mut PgConnection,
) -> Result<Standing, SyncError> {
    let named = |e| link.named(e);
    let unsuitable = |cause: String| SyncError::Unsuitable {
        at: link.at().to_owned(),
        cause,
    };
    let server = sqlx::query!(
        r#"SELECT current_setting('server_version_num')::int AS "version!",
             current_setting('server_encoding') AS "encoding!",
             pg_is_in_recovery() AS "standby!",
             current_setting('transaction_read_only')::boolean AS "read_only!""#
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(named)?;
    if server.version < SERVER_VERSION_MIN {
        let found = server.version / 10_000;
        return Err(unsuitable(format!(
            "it is version {found}; use {} or later",
            SERVER_VERSION_MIN / 10_000
        )));
    }
    if server.encoding != "UTF8" {
        return Err(unsuitable(format!(
            "the database's encoding is {}; create one with ENCODING 'UTF8'",
            server.encoding
        )));
    }
    if server.standby || server.read_only {
        let what = if server.standby {
            "it is a standby"
        } else {
            "it is set to be read only"
        };
        return Err(SyncError::ReadOnly { cause: what.into() });
    }
    standing(link, connection).await
}

/// Makes or migrates our tables where that is needed.
pub(super) async fn prepare(link: &Link, connection: &mut PgConnection) -> Result<(), SyncError> {
    if look(link, connection).await? == Standing::Ours(SCHEMA_VERSION) {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(|e| link.named(e))?;
    // One appliance migrates, the others wait and find it done.
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(1447645761, hashtext($1))",
        link.schema()
    )
    .execute(&mut *transaction)
    .await
    .map_err(|e| link.named(e))?;
    let found = match standing(link, &mut transaction).await? {
        Standing::Empty => 0,
        Standing::Ours(version) => version,
    };
    for (version, migration) in (1i32..).zip(&MIGRATIONS) {
        if version > found {
            apply(link, &mut transaction, version, migration).await?;
        }
    }
    transaction.commit().await.map_err(|e| link.named(e))?;
    if found < SCHEMA_VERSION {
        tracing::info!(
            "the schema {} in PostgreSQL was brought from version {found} to {SCHEMA_VERSION}",
            link.schema()
        );
    }
    Ok(())
}

async fn apply(
    link: &Link,
    connection: &mut PgConnection,
    version: i32,
    migration: &Migration,
) -> Result<(), SyncError> {
    // One that is there already may belong to a role that can make no other.
    let is_there = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS "is_there!""#,
        link.schema()
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|e| link.named(e))?;
    if !is_there {
        // Its characters were checked with the settings.
        let sql = format!("CREATE SCHEMA \"{}\"", link.schema());
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *connection)
            .await
            .map_err(|e| link.named(e))?;
    }
    sqlx::raw_sql(migration.sql)
        .execute(&mut *connection)
        .await
        .map_err(|e| link.named(e))?;
    sqlx::query!(
        "INSERT INTO migrations (version, name, sha256) VALUES ($1, $2, $3)",
        version,
        migration.name,
        &digest(migration)
    )
    .execute(&mut *connection)
    .await
    .map_err(|e| link.named(e))?;
    Ok(())
}

/// Whose the schema is, and of which version.
async fn standing(link: &Link, connection: &mut PgConnection) -> Result<Standing, SyncError> {
    let named = |e| link.named(e);
    // The catalogue tells it without a right to anything in the schema.
    let tables: Vec<String> = sqlx::query_scalar!(
        r#"SELECT relname::text AS "name!" FROM pg_class
           WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind IN ('r', 'p', 'v', 'm', 'f')
           ORDER BY relname"#,
        link.schema()
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(named)?;
    if tables.is_empty() {
        return Ok(Standing::Empty);
    }
    let foreign = || SyncError::Foreign {
        schema: link.schema().to_owned(),
        found: format!("its tables are {}", some_of(&tables)),
    };
    let has = |name: &str| tables.iter().any(|table| table == name);
    if !has("meta") || !has("migrations") {
        return Err(foreign());
    }
    // Another application's tables of these names lack our columns.
    let other = |e: sqlx::Error| match &e {
        sqlx::Error::Database(e) if e.code().as_deref() == Some(UNDEFINED_COLUMN) => foreign(),
        sqlx::Error::ColumnDecode { .. } => foreign(),
        _ => named(e),
    };
    let meta = sqlx::query!("SELECT application, min_writer FROM meta")
        .fetch_optional(&mut *connection)
        .await
        .map_err(other)?;
    let Some(meta) = meta.filter(|meta| meta.application == APPLICATION) else {
        return Err(foreign());
    };
    let applied = sqlx::query!("SELECT version, name, sha256 FROM migrations ORDER BY version")
        .fetch_all(&mut *connection)
        .await
        .map_err(other)?;
    let found = applied.last().map_or(0, |row| row.version);
    if meta.min_writer > SCHEMA_VERSION {
        return Err(SyncError::TooNew {
            schema: link.schema().to_owned(),
            found,
            needed: meta.min_writer,
            known: SCHEMA_VERSION,
        });
    }
    for (row, migration) in applied.iter().zip(&MIGRATIONS) {
        if row.name != migration.name || row.sha256 != digest(migration) {
            return Err(SyncError::MigrationDiffers {
                schema: link.schema().to_owned(),
                name: row.name.clone(),
            });
        }
    }
    // One that a later release has made and lets us write is as good as ours.
    Ok(Standing::Ours(found.min(SCHEMA_VERSION)))
}

fn some_of(tables: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = tables.iter().take(SHOWN).cloned().collect::<Vec<_>>();
    let more = if tables.len() > SHOWN {
        " and others"
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

fn digest(migration: &Migration) -> [u8; 32] {
    Sha256::digest(migration.sql.as_bytes()).into()
}
