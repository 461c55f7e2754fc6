-- Which appliance conducts an interview now. Renewed while it does; all times are this server's.
CREATE TABLE leases (
    interview_id text        COLLATE "C" NOT NULL PRIMARY KEY REFERENCES interviews ON DELETE CASCADE,
    appliance    text        COLLATE "C" NOT NULL,
    term         bigint      NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX leases_by_appliance ON leases (appliance);

COMMENT ON TABLE leases IS 'Which appliance conducts an interview now';
