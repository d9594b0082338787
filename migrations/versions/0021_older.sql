-- Only additions: the release before runs on this schema. A table at a time: each statement may be repeated.

-- Jobs that lanes sent back for want of room: they count against their tenant's credit, topic by topic. Of a table of many
-- millions of rows the index is made beforehand, with CONCURRENTLY.
CREATE INDEX IF NOT EXISTS jobs_sent_back ON jobs (tenant_id, topic) WHERE state = 'waiting' AND reason = 'cap';
COMMIT; BEGIN;

-- What the release could read under which the bytes failed (`schemas.errors.READER`); none: one before this.
ALTER TABLE content ADD COLUMN IF NOT EXISTS reader int;
COMMIT; BEGIN;
ALTER TABLE content_stages ADD COLUMN IF NOT EXISTS reader int;
