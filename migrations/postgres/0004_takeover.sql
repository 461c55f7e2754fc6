-- An interview whose lease is over may be gone on with by another appliance, if it is on the same LiveKit and finds
-- nobody conducting the interview there.
ALTER TABLE leases ADD COLUMN livekit text; -- the name of the API key there; nothing from a release that leaves no interview to others
