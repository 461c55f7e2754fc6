-- Where an interview stood at one of its events, so that not all of them have to be replayed. The events alone are what
-- happened: a snapshot can be deleted at any time, and no release reads another one's.
CREATE TABLE snapshots (
    interview_id TEXT NOT NULL PRIMARY KEY,
    term INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL, -- of that event
    release TEXT NOT NULL,
    state TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;

-- Also where an earlier release deletes the interview.
CREATE TRIGGER snapshots_go_with_their_interview AFTER DELETE ON interviews
BEGIN
    DELETE FROM snapshots WHERE interview_id = OLD.id;
END;
