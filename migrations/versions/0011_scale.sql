-- Only additions: the release before runs on this schema.

-- Is anybody at work on these bytes? Asked for each content whose objects are to go.
CREATE INDEX IF NOT EXISTS jobs_content ON jobs (tenant_id, content_sha256)
    WHERE state IN ('waiting', 'queued', 'running') AND content_sha256 IS NOT NULL;

-- Answers are deleted a day after their request.
CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (created_at);

-- A page of a tenant's assets is found without walking over those that it has deleted, or that are not asked for.
-- `assets_listing` stays for whoever pages through all of them.
CREATE INDEX IF NOT EXISTS assets_live ON assets (tenant_id, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS assets_state ON assets (tenant_id, state, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS assets_kind ON assets (tenant_id, kind, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- The rows of purged assets go some days later.
CREATE INDEX IF NOT EXISTS assets_purged ON assets (purged_at) WHERE purged_at IS NOT NULL;

-- Each heartbeat, retry and attempt leaves a dead entry at that end of an index that is read every second. By default they
-- would be cleared away when a fifth of the table is dead: of ninety million jobs, after weeks. And a vacuum that finds few
-- dead rows leaves the indexes as they are, unless it is told.
ALTER TABLE jobs SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.002, vacuum_index_cleanup = on);
ALTER TABLE webhook_deliveries SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.002, vacuum_index_cleanup = on);
ALTER TABLE assets SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE content SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.01);
