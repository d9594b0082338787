-- Only additions: the release before runs on this schema. A table at a time: each statement may be repeated.

-- What is due is taken tenant by tenant: a leader's end makes all of its twins due at once, and one tenant may have a
-- million of them. NULLS FIRST: so no other index has this order, as in 0014.
CREATE INDEX IF NOT EXISTS jobs_due_of_tenant ON jobs (tenant_id, due_at NULLS FIRST)
    WHERE state = 'waiting' AND due_at IS NOT NULL;
COMMIT; BEGIN;

-- So are open uploads in parts looked at. The release before walks over `assets_open_parts`.
CREATE INDEX IF NOT EXISTS assets_open_parts_of_tenant ON assets (tenant_id, id NULLS FIRST)
    WHERE upload_id IS NOT NULL AND uploaded_at IS NULL AND state = 'pending';
