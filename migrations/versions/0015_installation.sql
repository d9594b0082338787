-- Only additions: the release before runs on this schema.

-- Who we are: one row. The keeper writes the id into the bucket, once (`marked_at`), and removes nothing from a bucket that
-- bears another's. A copy of a database that is to live beside it needs an id of its own.
CREATE TABLE installation (
    id         uuid NOT NULL DEFAULT gen_random_uuid(),
    marked_at  timestamptz,
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);
INSERT INTO installation DEFAULT VALUES;
GRANT SELECT ON installation TO medialane_worker;
GRANT UPDATE (marked_at) ON installation TO medialane_worker;

-- The last walk over the bucket was stopped: too much of what it met seemed to be nobody's.
ALTER TABLE sweeps ADD COLUMN stopped_at timestamptz;
