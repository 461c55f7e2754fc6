-- The plan of every interview, word for word, so that any machine that has the journal can go on with it.
CREATE TABLE plans (
    hash              TEXT    NOT NULL PRIMARY KEY, -- SHA-256 of body, lower-case hexadecimal
    body              TEXT    NOT NULL,
    stored_at_unix_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE interviews (
    id               TEXT    NOT NULL PRIMARY KEY,
    room             TEXT    NOT NULL,
    plan_name        TEXT    NOT NULL,
    plan_hash        TEXT    NOT NULL REFERENCES plans (hash),
    term             INTEGER NOT NULL, -- rises each time a process takes the interview up
    begun_at_unix_ms INTEGER NOT NULL,
    ended_at_unix_ms INTEGER,
    end_reason       TEXT
) STRICT;

CREATE INDEX interviews_live ON interviews (begun_at_unix_ms) WHERE ended_at_unix_ms IS NULL;

CREATE TABLE events (
    interview_id TEXT    NOT NULL REFERENCES interviews (id),
    term         INTEGER NOT NULL,
    seq          INTEGER NOT NULL, -- counts from 1 without a gap, through all terms
    at_unix_ms   INTEGER NOT NULL,
    elapsed_ms   INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    payload      TEXT    NOT NULL, -- JSON; these very bytes are hashed
    hash         BLOB    NOT NULL, -- SHA-256 of this event and the hash before it
    PRIMARY KEY (interview_id, term, seq)
) STRICT, WITHOUT ROWID;

-- What happened has happened.
CREATE TRIGGER events_do_not_change BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'an event never changes');
END;
