//! The `[postgres]` section: where the copy of the journal goes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;

use super::secrets::{Secret, credential, read_secret};
use super::{Config, ConfigError, Environment};

/// The credential that holds the password.
const CREDENTIAL: &str = "postgres-password";
/// What may stand behind the `?`. Others would be passed over in silence, and a misspelt `sslmode` is no encryption.
const PARAMETERS: [&str; 8] = [
    "dbname",
    "host",
    "hostaddr",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];
/// As in libpq.
const SSL_MODES: [&str; 6] = [
    "disable",
    "allow",
    "prefer",
    "require",
    "verify-ca",
    "verify-full",
];
/// PostgreSQL cuts longer names off.
const NAME_CHARS_MAX: usize = 63;

/// The copy in PostgreSQL. Nothing waits for it, and without a `url` there is none.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// Whether to use the database that `url` names.
    pub enable: bool,
    /// As libpq takes it, without a password: `postgresql://viva@db.example.org/viva?sslmode=verify-full`, or
    /// `postgresql://viva@localhost/viva?host=/run/postgresql` for a socket.
    pub url: Option<String>,
    /// The schema that Viva makes its tables in and keeps for itself.
    pub schema: String,
    /// A file with the password; else `$CREDENTIALS_DIRECTORY/postgres-password`, else `PGPASSWORD`, else none is
    /// sent, as for peer authentication.
    pub password_file: Option<PathBuf>,
    /// Connections at once, at most.
    pub pool_size: u32,
    /// Time to connect: name resolution, TCP, TLS and authentication together.
    pub connect_timeout_ms: u32,
    /// Time to get a connection of the pool.
    pub acquire_timeout_ms: u32,
    /// Time for one statement.
    pub statement_timeout_ms: u32,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            enable: true,
            url: None,
            schema: "viva".into(),
            password_file: None,
            pool_size: 4,
            connect_timeout_ms: 5_000,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 10_000,
        }
    }
}

impl Postgres {
    /// The database's address, where one is to be used.
    pub fn used_url(&self) -> Option<&str> {
        self.url.as_deref().filter(|_| self.enable)
    }

    /// The key that is wrong, and what would be right. The address is not repeated: it may hold a password.
    pub(super) fn mistake(&self) -> Option<(&'static str, String)> {
        if let Some(mistake) = self.url.as_deref().and_then(mistake_of_url) {
            return Some(("postgres.url", mistake));
        }
        let first = self.schema.chars().next().unwrap_or_default();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(first.is_ascii_lowercase() || first == '_')
            || !self.schema.chars().all(good)
            || self.schema.len() > NAME_CHARS_MAX
            || self.schema.starts_with("pg_")
        {
            let message = "must be 1 to 63 of a-z 0-9 _, not begin with a digit and not with `pg_`";
            return Some(("postgres.schema", message.into()));
        }
        if !(1..=50).contains(&self.pool_size) {
            return Some(("postgres.pool_size", "must be between 1 and 50".into()));
        }
        [
            ("postgres.connect_timeout_ms", self.connect_timeout_ms),
            ("postgres.acquire_timeout_ms", self.acquire_timeout_ms),
            ("postgres.statement_timeout_ms", self.statement_timeout_ms),
        ]
        .into_iter()
        .find(|(_, ms)| !(100..=600_000).contains(ms))
        .map(|(key, _)| (key, "must be between 100 and 600000".into()))
    }
}

fn mistake_of_url(text: &str) -> Option<String> {
    let example = "as postgresql://viva@db.example.org/viva?sslmode=verify-full";
    let Ok(url) = Url::parse(text) else {
        return Some(format!("is no URL; it must be one {example}"));
    };
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Some(format!("must start with postgresql://, {example}"));
    }
    let has_password = url.password().is_some() || url.query_pairs().any(|(k, _)| k == "password");
    if has_password {
        let put = "put it into a file and name that in postgres.password_file";
        return Some(format!("must not hold the password; {put}"));
    }
    for (key, value) in url.query_pairs() {
        if !PARAMETERS.contains(&key.as_ref()) {
            let known = PARAMETERS.join(", ");
            return Some(format!(
                "has the parameter {key:?}, of which Viva knows nothing; it knows {known}"
            ));
        }
        if key == "sslmode" && !SSL_MODES.contains(&value.as_ref()) {
            return Some(format!(
                "has sslmode={value}; it must be one of {}",
                SSL_MODES.join(", ")
            ));
        }
        if key == "port" && value.parse::<u16>().is_err() {
            return Some(format!("has port={value}; it must be a number up to 65535"));
        }
        if key == "hostaddr" && value.parse::<std::net::IpAddr>().is_err() {
            return Some(format!("has hostaddr={value}; it must be an IP address"));
        }
    }
    let names_database = url.path().len() > 1 || url.query_pairs().any(|(k, _)| k == "dbname");
    (!names_database).then(|| format!("must name the database, {example}"))
}

impl Config {
    /// The database's password, if one is set anywhere.
    ///
    /// # Errors
    /// A file that is named can't be read.
    pub fn postgres_password(&self, env: &Environment) -> Result<Option<Secret>, ConfigError> {
        let file = self.postgres.password_file.clone();
        if let Some(path) = file.or_else(|| credential(env, CREDENTIAL)) {
            let text = read_secret("the password of PostgreSQL", &path)?;
            return Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))));
        }
        Ok(env.get("PGPASSWORD").map(Secret::new))
    }
}
