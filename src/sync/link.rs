//! The way to the database: a lazy pool, limits on every wait, and names for what goes wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres};
use tokio::time::error::Elapsed;

use super::error::{SyncError, named};
use crate::config::{self, Config, ConfigError, Environment};

/// Connections that nobody needs are given back to the server.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// A connection is made anew from time to time, so that a moved server name is noticed.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Several statements, each of which the server itself bounds, and no answer at all is no answer to any of them.
const WORK_STATEMENTS: u32 = 3;
/// A transaction that we left open by mistake ends by itself.
const IDLE_IN_TRANSACTION_MS: u32 = 60_000;

/// The way to one schema in one database. Clones share the pool; nothing is connected before it is needed.
#[derive(Clone)]
pub struct Link {
    options: PgConnectOptions,
    pool: PgPool,
    at: String,
    schema: String,
    connect_limit: Duration,
    work_limit: Duration,
    /// Connections that the pool has made so far.
    connections: Arc<AtomicU64>,
}

/// Without the options, which hold the password.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("at", &self.at)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// The database of the settings, if there is one; connects to nothing. Needs a runtime.
    ///
    /// # Errors
    /// The password can't be read, or the address can't be used.
    pub fn of(config: &Config, env: &Environment) -> Result<Option<Self>, ConfigError> {
        let Some(url) = config.postgres.used_url() else {
            return Ok(None);
        };
        let unusable = |cause: String| ConfigError::Invalid {
            origin: "settings".into(),
            key: "postgres.url".into(),
            message: format!("can't be used: {cause}"),
        };
        let mut options: PgConnectOptions = url
            .parse()
            .map_err(|e: sqlx::Error| unusable(e.to_string()))?;
        if let Some(password) = config.postgres_password(env)? {
            options = options.password(password.reveal());
        }
        Ok(Some(Self::new(options, &config.postgres)))
    }

    fn new(options: PgConnectOptions, settings: &config::Postgres) -> Self {
        let schema = settings.schema.clone();
        let statement_ms = settings.statement_timeout_ms;
        let options = options
            .application_name("viva")
            .options([
                ("search_path", format!("{schema},pg_temp")),
                ("statement_timeout", statement_ms.to_string()),
                (
                    "idle_in_transaction_session_timeout",
                    IDLE_IN_TRANSACTION_MS.to_string(),
                ),
                ("client_min_messages", "warning".to_owned()),
            ])
            // What is sent are people's words.
            .disable_statement_logging();
        let at = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let connections = Arc::new(AtomicU64::new(0));
        let made = connections.clone();
        let pool = PgPoolOptions::new()
            .max_connections(settings.pool_size)
            .acquire_timeout(ms(settings.acquire_timeout_ms))
            .idle_timeout(IDLE)
            .max_lifetime(LIFETIME)
            .after_connect(move |_, _| {
                made.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { Ok(()) })
            })
            .connect_lazy_with(options.clone());
        Self {
            options,
            pool,
            at,
            schema,
            connect_limit: ms(settings.connect_timeout_ms),
            work_limit: ms(statement_ms) * WORK_STATEMENTS,
            connections,
        }
    }

    /// Who, where and in which schema, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let database = self.options.get_database().unwrap_or_default();
        format!(
            "{}@{}/{database}, schema {}",
            self.options.get_username(),
            self.at,
            self.schema
        )
    }

    pub(super) fn at(&self) -> &str {
        &self.at
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// A connection beside the pool. The pool tries again in silence until its time is over; this one tells the cause.
    pub(super) async fn connect(&self) -> Result<PgConnection, SyncError> {
        let connecting = PgConnection::connect_with(&self.options);
        match tokio::time::timeout(self.connect_limit, connecting).await {
            Ok(Err(sqlx::Error::Io(e))) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(SyncError::Protocol {
                    at: self.at.clone(),
                    cause: format!("it ended the connection before the login was done ({e})"),
                })
            }
            Ok(connected) => connected.map_err(|e| self.named(e)),
            Err(_) => Err(SyncError::Silent {
                at: self.at.clone(),
                limit: self.connect_limit,
            }),
        }
    }

    /// A connection of the pool.
    pub(super) async fn acquire(&self) -> Result<PoolConnection<Postgres>, SyncError> {
        self.pool.acquire().await.map_err(|e| self.named(e))
    }

    /// How many connections the pool has made so far. Behind a new one may be another server: a standby that took over,
    /// or a backup that was put in the place of what was there.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// What came of work on a connection that was given the limit [`work_limit`](Self::work_limit). After a failure
    /// the connection is not used again: nobody knows what is still under way on it.
    pub(super) fn settle<T>(
        &self,
        connection: PoolConnection<Postgres>,
        done: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> Result<T, SyncError> {
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                drop(connection.detach());
                Err(self.named(error))
            }
            Err(_) => {
                drop(connection.detach());
                Err(self.silent())
            }
        }
    }

    /// Time for a transaction.
    pub(super) fn work_limit(&self) -> Duration {
        self.work_limit
    }

    pub(super) fn named(&self, error: sqlx::Error) -> SyncError {
        named(error, &self.at, &self.schema)
    }

    /// A transaction was given its time.
    pub(super) fn silent(&self) -> SyncError {
        SyncError::Silent {
            at: self.at.clone(),
            limit: self.work_limit,
        }
    }
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}
