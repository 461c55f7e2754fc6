-- The copy of the appliances' journals, and what a platform reads. All of it lies in one schema, which the connection's
-- search_path names. Applications may read everything and write nothing here but `tombstones`.

-- One row about the schema itself.
CREATE TABLE meta (
    only_row    boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    application text    NOT NULL CHECK (application = 'viva'),
    min_writer  integer NOT NULL -- a release that knows this schema or a later one may write here
);
INSERT INTO meta (application, min_writer) VALUES ('viva', 1);

CREATE TABLE migrations (
    version    integer     NOT NULL PRIMARY KEY,
    name       text        NOT NULL,
    sha256     bytea       NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The plan of every interview, word for word, so that any appliance can go on with it.
CREATE TABLE plans (
    hash      text        COLLATE "C" NOT NULL PRIMARY KEY, -- SHA-256 of body, lower-case hexadecimal
    body      text        NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE interviews (
    interview_id     text        COLLATE "C" NOT NULL PRIMARY KEY,
    room             text        NOT NULL, -- LiveKit's
    candidate        text,                 -- LiveKit's identity, where the job named it
    plan_name        text        NOT NULL,
    plan_hash        text        COLLATE "C" NOT NULL REFERENCES plans,
    begun_at         timestamptz NOT NULL,
    begun_at_unix_ms bigint      NOT NULL,
    last_event_at    timestamptz,
    ended_at         timestamptz,          -- nothing while it is live
    end_reason       text,                 -- completed, time_up, candidate_gone, candidate_never_came, room_gone, fault
    turns            bigint      NOT NULL DEFAULT 0, -- of the candidate
    appliance        text        NOT NULL, -- that wrote last: its host and state directory
    term             bigint      NOT NULL, -- rises each time a process takes the interview up
    events           bigint      NOT NULL DEFAULT 0, -- the number of the last event here
    last_hash        bytea,                -- and its hash
    stored_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX interviews_by_begin ON interviews (begun_at);
CREATE INDEX interviews_by_plan ON interviews (plan_hash);
CREATE INDEX interviews_live ON interviews (begun_at) WHERE ended_at IS NULL;

-- Byte for byte what the journals have.
CREATE TABLE events (
    interview_id text        COLLATE "C" NOT NULL REFERENCES interviews ON DELETE CASCADE,
    seq          bigint      NOT NULL, -- counts from 1 without a gap, through all terms
    term         bigint      NOT NULL,
    at_unix_ms   bigint      NOT NULL,
    elapsed_ms   bigint      NOT NULL, -- monotonic, of the session
    kind         text        COLLATE "C" NOT NULL,
    payload      text        NOT NULL, -- JSON; these very bytes are hashed
    hash         bytea       NOT NULL, -- SHA-256 of this event and the hash before it
    stored_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (interview_id, seq)
);

-- What was said, in its order (seq).
CREATE TABLE turns (
    interview_id text        COLLATE "C" NOT NULL REFERENCES interviews ON DELETE CASCADE,
    seq          bigint      NOT NULL, -- of the event
    speaker      text        NOT NULL CHECK (speaker IN ('interviewer', 'candidate')),
    number       bigint      NOT NULL, -- of this speaker's turns, from 1
    at           timestamptz NOT NULL, -- when the words were there: an interviewer's are spoken after that
    question     bigint,               -- the plan's question that it belongs to, from 1
    role         text        NOT NULL, -- greeting, question, prompt, say_again, goodbye; answer, continuation,
                                       -- repeat_request, skip_request, aside
    text         text        NOT NULL, -- an interviewer's: as planned
    heard        text,                 -- an interviewer's: whole, part, page or unknown; nothing until it is over
    heard_text   text,                 -- an interviewer's, where only a part was heard: up to there
    engine       text,                 -- STT or TTS
    speech_ms    bigint,               -- how long the candidate spoke
    PRIMARY KEY (interview_id, seq)
);

-- Events that contradict what is here: kept for a person to look at, and never a part of the interview.
CREATE TABLE quarantine (
    interview_id   text        COLLATE "C" NOT NULL REFERENCES interviews ON DELETE CASCADE,
    seq            bigint      NOT NULL,
    term           bigint      NOT NULL,
    hash           bytea       NOT NULL,
    at_unix_ms     bigint      NOT NULL,
    elapsed_ms     bigint      NOT NULL,
    kind           text        COLLATE "C" NOT NULL,
    payload        text        NOT NULL,
    reason         text        NOT NULL CHECK (reason IN ('other_event', 'lower_term', 'after_another')),
    appliance      text        NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (interview_id, seq, term, hash)
);

-- Interviews that were deleted, by their ids alone. Whoever adds one here deletes the interview from every appliance.
CREATE TABLE tombstones (
    interview_id text        COLLATE "C" NOT NULL PRIMARY KEY,
    number       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
    buried_at    timestamptz NOT NULL DEFAULT now()
);

-- What happened has happened.
CREATE FUNCTION an_event_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an event never changes';
END
$$;
CREATE TRIGGER events_do_not_change BEFORE UPDATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION an_event_never_changes();

-- Burials come one after the other, so that their numbers are there in their order, and while no interview is being
-- added, so that a burial that is not committed yet is not overlooked.
CREATE FUNCTION wait_for_burials() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1447645761, hashtext(current_schema()));
    RETURN NULL;
END
$$;
CREATE TRIGGER one_burial_at_a_time BEFORE INSERT ON tombstones
    FOR EACH STATEMENT EXECUTE FUNCTION wait_for_burials();

-- Everything of an interview hangs on its row. A plan goes with the last interview that follows it.
CREATE FUNCTION bury() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    plan text;
BEGIN
    DELETE FROM interviews WHERE interview_id = NEW.interview_id RETURNING plan_hash INTO plan;
    DELETE FROM plans WHERE hash = plan AND NOT EXISTS (SELECT FROM interviews WHERE plan_hash = plan);
    RETURN NULL;
END
$$;
CREATE TRIGGER tombstones_bury AFTER INSERT ON tombstones
    FOR EACH ROW EXECUTE FUNCTION bury();

-- Whoever was deleted does not come back: the row of such an interview is not inserted, and without it nothing else is.
CREATE FUNCTION nobody_comes_back() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1447645761, hashtext(current_schema()));
    IF EXISTS (SELECT FROM tombstones WHERE interview_id = NEW.interview_id) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER interviews_stay_deleted BEFORE INSERT ON interviews
    FOR EACH ROW EXECUTE FUNCTION nobody_comes_back();

COMMENT ON TABLE interviews IS 'One row for each interview; for platforms to read';
COMMENT ON TABLE turns IS 'What was said, in the order of seq; for platforms to read';
COMMENT ON TABLE events IS 'The journals, byte for byte; a platform reads interviews and turns instead';
COMMENT ON TABLE quarantine IS 'Events that contradict what is in events; an operator looks at them';
COMMENT ON TABLE tombstones IS 'Deleted interviews; an insert deletes the interview here and from every appliance';
