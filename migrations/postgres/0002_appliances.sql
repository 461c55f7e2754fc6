-- The machines that copy their journals here, and what each has confirmed.
CREATE TABLE appliances (
    appliance text        COLLATE "C" NOT NULL PRIMARY KEY, -- its host and state directory
    buried    bigint      NOT NULL DEFAULT 0, -- it has deleted all that the tombstones up to this number name
    seen_at   timestamptz NOT NULL DEFAULT now()
);

-- A deletion is done when every appliance has confirmed it. One that does not exist any more is taken off the list by
-- an operator: DELETE FROM appliances WHERE appliance = '…'.
CREATE VIEW deletions AS
SELECT interview_id,
       buried_at,
       coalesce(array_agg(appliance ORDER BY appliance) FILTER (WHERE buried < number), '{}') AS awaited,
       CASE WHEN bool_or(buried < number) THEN 'pending' ELSE 'done' END AS state
FROM tombstones LEFT JOIN appliances ON true
GROUP BY interview_id, buried_at;

COMMENT ON TABLE appliances IS 'The machines that copy their journals here';
COMMENT ON VIEW deletions IS 'Deleted interviews, and which appliances have not confirmed yet';
