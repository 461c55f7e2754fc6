-- Whether the webhook knows that the interview is over. What ended before there was one is not told.
ALTER TABLE interviews ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
UPDATE interviews SET told = 1 WHERE ended_at_unix_ms IS NOT NULL;

CREATE INDEX interviews_untold ON interviews (ended_at_unix_ms) WHERE told = 0 AND ended_at_unix_ms IS NOT NULL;
