//! What can go wrong with the copy in Postgres, told apart by what has to be done about it.

use std::time::Duration;

use crate::journal::JournalError;

/// What can go wrong with the copy. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// Nobody answers there, or the connection broke.
    #[error("cannot reach PostgreSQL at {at}: {cause}")]
    Unreachable {
        /// The server.
        at: String,
        /// The system's reason.
        cause: String,
    },
    /// The server took the connection and then said nothing.
    #[error("PostgreSQL at {at} did not answer within {} ms", limit.as_millis())]
    Silent {
        /// The server.
        at: String,
        /// The time it was given.
        limit: Duration,
    },
    /// What answers there does not speak PostgreSQL's protocol, or TLS does not come about.
    #[error(
        "what answers at {at} can't be talked to: {cause}; is it a PostgreSQL, and does `sslmode` suit it?"
    )]
    Protocol {
        /// The server.
        at: String,
        /// What was wrong.
        cause: String,
    },
    /// User, password or database are wrong.
    #[error(
        "PostgreSQL at {at} refuses the login: {cause}; put postgres.url and the password right"
    )]
    Refused {
        /// The server.
        at: String,
        /// The server's reason.
        cause: String,
    },
    /// It is starting, stopping or has no connection free.
    #[error("PostgreSQL takes no connection now: {cause}")]
    Busy {
        /// The server's reason.
        cause: String,
    },
    /// A standby, or set to be read only.
    #[error("PostgreSQL can't be written to: {cause}; name the primary, or end its read-only mode")]
    ReadOnly {
        /// The server's reason.
        cause: String,
    },
    /// Its disk is full.
    #[error("PostgreSQL has no room: {cause}")]
    Full {
        /// The server's reason.
        cause: String,
    },
    /// A statement was not done in time.
    #[error("PostgreSQL is too slow: {cause}")]
    Slow {
        /// The server's reason.
        cause: String,
    },
    /// The role lacks a right.
    #[error(
        "PostgreSQL does not let us: {cause}; the role has to own the schema: CREATE SCHEMA {schema} AUTHORIZATION its-name"
    )]
    Forbidden {
        /// The schema.
        schema: String,
        /// The server's reason.
        cause: String,
    },
    /// The schema is another application's.
    #[error(
        "the schema {schema} in PostgreSQL belongs to another application ({found}), nothing is written to it; name another one in postgres.schema"
    )]
    Foreign {
        /// The schema.
        schema: String,
        /// What was found in it.
        found: String,
    },
    /// A later release has made the schema, and it says that this one may not write to it.
    #[error(
        "the schema {schema} in PostgreSQL has version {found}, to which releases that know {needed} may write, and this one knows {known}; nothing is written, install a later release"
    )]
    TooNew {
        /// The schema.
        schema: String,
        /// Its version.
        found: i32,
        /// The earliest version that a writer has to know.
        needed: i32,
        /// The latest version of this release.
        known: i32,
    },
    /// A migration was applied in another form than this release has it.
    #[error(
        "the schema {schema} in PostgreSQL was made by another version of the migration {name}; nothing is written, use the release that made it"
    )]
    MigrationDiffers {
        /// The schema.
        schema: String,
        /// The migration.
        name: String,
    },
    /// A server that lacks what is needed.
    #[error("PostgreSQL at {at} can't hold the copy: {cause}")]
    Unsuitable {
        /// The server.
        at: String,
        /// What it lacks, and what to do.
        cause: String,
    },
    /// What was sent can't be stored as it is. It is a matter of one interview.
    #[error("PostgreSQL refuses what was sent: {cause}")]
    Data {
        /// The server's reason.
        cause: String,
    },
    /// Anything else that the server said.
    #[error("PostgreSQL failed: {cause}")]
    Other {
        /// The server's reason.
        cause: String,
    },
    /// The journal can't be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl SyncError {
    /// The kind in one word, as a label of metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::Silent { .. } => "silent",
            Self::Protocol { .. } => "protocol",
            Self::Refused { .. } => "refused",
            Self::Busy { .. } => "busy",
            Self::ReadOnly { .. } => "read_only",
            Self::Full { .. } => "full",
            Self::Slow { .. } => "slow",
            Self::Forbidden { .. } => "forbidden",
            Self::Foreign { .. } => "foreign",
            Self::TooNew { .. } => "too_new",
            Self::MigrationDiffers { .. } => "migration_differs",
            Self::Unsuitable { .. } => "unsuitable",
            Self::Data { .. } => "data",
            Self::Other { .. } => "other",
            Self::Journal(_) => "journal",
        }
    }
}

/// All kinds, for the metric that shows which one is the case.
pub const KINDS: [&str; 16] = [
    "busy",
    "data",
    "forbidden",
    "foreign",
    "full",
    "journal",
    "migration_differs",
    "other",
    "protocol",
    "read_only",
    "refused",
    "silent",
    "slow",
    "too_new",
    "unreachable",
    "unsuitable",
];

/// What the driver says, told apart. `at` is the server and `schema` ours in it.
pub(super) fn named(error: sqlx::Error, at: &str, schema: &str) -> SyncError {
    let at = at.to_owned();
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            of_server(&code, error.message().to_owned(), at, schema)
        }
        // A certificate that is not trusted comes as one of these.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            SyncError::Protocol {
                at,
                cause: error.to_string(),
            }
        }
        sqlx::Error::Io(error) => SyncError::Unreachable {
            at,
            cause: error.to_string(),
        },
        sqlx::Error::Tls(error) => SyncError::Protocol {
            at,
            cause: error.to_string(),
        },
        sqlx::Error::Protocol(cause) => SyncError::Protocol { at, cause },
        sqlx::Error::PoolTimedOut => SyncError::Busy {
            cause: "no connection of the pool became free in time".into(),
        },
        other => SyncError::Other {
            cause: other.to_string(),
        },
    }
}

/// By SQLSTATE; the classes are in PostgreSQL's appendix A.
fn of_server(code: &str, cause: String, at: String, schema: &str) -> SyncError {
    let schema = schema.to_owned();
    match code {
        "25006" => SyncError::ReadOnly { cause },
        "53100" | "53200" => SyncError::Full { cause },
        "53300" | "57P01" | "57P02" | "57P03" | "55P03" | "40001" | "40P01" => {
            SyncError::Busy { cause }
        }
        "57014" => SyncError::Slow { cause },
        "42501" => SyncError::Forbidden { schema, cause },
        "3D000" => SyncError::Refused { at, cause },
        _ => match code.get(..2) {
            Some("28") => SyncError::Refused { at, cause },
            Some("22" | "23") => SyncError::Data { cause },
            Some("08") => SyncError::Unreachable { at, cause },
            _ => SyncError::Other {
                cause: format!("{cause} ({code})"),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_told_apart_by_what_is_to_be_done() {
        let kind = |code: &str| of_server(code, String::new(), "db:5432".into(), "viva").kind();
        for (code, expected) in [
            ("25006", "read_only"),
            ("53100", "full"),
            ("57P03", "busy"),
            ("57014", "slow"),
            ("42501", "forbidden"),
            ("28P01", "refused"),
            ("3D000", "refused"),
            ("22021", "data"),
            ("23505", "data"),
            ("42P01", "other"),
            ("", "other"),
        ] {
            assert_eq!(kind(code), expected, "{code}");
            assert!(KINDS.contains(&expected));
        }
    }
}
