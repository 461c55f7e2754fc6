-- One row about the file itself.
CREATE TABLE meta (
    only_row   INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    min_reader INTEGER NOT NULL, -- a release that knows this schema or a later one may open the file
    epoch      TEXT              -- also kept in a file beside this one; where they differ, this one was restored
) STRICT;

-- Not 1: a release that knows nothing of interviews that are set aside must not go on with them.
INSERT INTO meta (only_row, min_reader) VALUES (1, 2);

ALTER TABLE interviews ADD COLUMN candidate TEXT; -- the identity, where the job named it
ALTER TABLE interviews ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0; -- taken up so often since it last stood
ALTER TABLE interviews ADD COLUMN set_aside TEXT; -- why it is not taken up again by itself
ALTER TABLE interviews ADD COLUMN set_aside_at_unix_ms INTEGER;

-- How far Postgres has it. The events behind this place are the outbox.
ALTER TABLE interviews ADD COLUMN acknowledged_term INTEGER NOT NULL DEFAULT 0;
ALTER TABLE interviews ADD COLUMN acknowledged_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE interviews ADD COLUMN held_back TEXT; -- why it is not sent for now
ALTER TABLE interviews ADD COLUMN sent INTEGER NOT NULL DEFAULT 0; -- 1: over, and acknowledged to its end

CREATE INDEX interviews_unsent ON interviews (begun_at_unix_ms) WHERE sent = 0;
