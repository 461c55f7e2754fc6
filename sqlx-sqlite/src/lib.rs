//! Nothing: the journal talks to SQLite through `rusqlite`, and sqlx talks to Postgres alone.
