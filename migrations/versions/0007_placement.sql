-- Only additions: the release before runs on this schema.

-- Where the newest dispatch of a job went; NULL: its key's hash decided, or an older release wrote it.
ALTER TABLE jobs ADD COLUMN kpart int;
