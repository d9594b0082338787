-- Only additions: the release before runs on this schema.

-- What a variant of several objects consists of beside `object_key`: [{name, content_type, size, sha256}, ...], each
-- under its name in the same folder. NULL: the object is all there is.
ALTER TABLE variants ADD COLUMN parts jsonb;

-- Per cent. It only grows: a retry, which begins anew, tells nothing that was told before.
ALTER TABLE jobs ADD COLUMN progress smallint NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100);
