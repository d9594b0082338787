-- Only additions: the release before runs on this schema.

-- Who did what that others may ask about later. Rows are added and read, never changed; they outlive their tenant.
CREATE TABLE audit_log (
    id         uuid PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor      text NOT NULL,
    action     text NOT NULL,
    tenant_id  uuid,
    subject    text NOT NULL DEFAULT '',
    detail     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_listing ON audit_log (at, id);
CREATE INDEX audit_log_tenant ON audit_log (tenant_id, at, id);

-- A tenant whose jobs are given up too often: its jobs wait in their rows. No row, or `closed`: nothing is held.
-- `held` keeps it open until an operator closes it. What ended before `since` is not charged again.
CREATE TABLE breakers (
    tenant_id     uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    state         text NOT NULL CHECK (state IN ('closed', 'open', 'half_open')),
    cause         text NOT NULL DEFAULT '',
    held          boolean NOT NULL DEFAULT false,
    trips         int NOT NULL DEFAULT 0,
    probe_job_id  uuid,
    opened_at     timestamptz,
    retry_at      timestamptz,
    since         timestamptz NOT NULL DEFAULT now()
);

-- Secondary and bulk work takes what primary work leaves, until its `turn_at` has come.
ALTER TABLE jobs ADD COLUMN job_class text NOT NULL DEFAULT 'primary' CHECK (job_class IN ('primary', 'secondary', 'bulk'));
-- The record that was claimed last, for a dead letter's headers.
ALTER TABLE jobs ADD COLUMN record_topic text, ADD COLUMN record_kpart int, ADD COLUMN record_koffset bigint,
    ADD COLUMN record_group text;
CREATE INDEX jobs_ended ON jobs (tenant_id, finished_at) WHERE state IN ('done', 'failed');
CREATE INDEX jobs_breaker ON jobs (tenant_id, turn_at, id) WHERE state = 'waiting' AND reason = 'breaker';

ALTER TABLE assets DROP CONSTRAINT assets_state_check, ADD CONSTRAINT assets_state_check
    CHECK (state IN ('pending', 'uploaded', 'processing', 'ready', 'failed', 'cancelled', 'deleted'));
ALTER TABLE assets ADD COLUMN deleted_at timestamptz, ADD COLUMN purged_at timestamptz;
CREATE INDEX assets_purge ON assets (deleted_at) WHERE state = 'deleted' AND purged_at IS NULL;
CREATE INDEX assets_content ON assets (tenant_id, content_sha256) WHERE content_sha256 IS NOT NULL;

-- While objects of a content are being removed nobody may join it: what it would adopt is about to go.
ALTER TABLE content ADD COLUMN purging_at timestamptz;
CREATE INDEX content_purging ON content (purging_at) WHERE purging_at IS NOT NULL;

CREATE INDEX dead_letters_tenant ON dead_letters (tenant_id, created_at);

-- Headers of dead letters; the connector places them on that topic's records only.
ALTER TABLE outbox ADD COLUMN error_topic text, ADD COLUMN error_kpart text, ADD COLUMN error_koffset text,
    ADD COLUMN error_group text, ADD COLUMN error_count text, ADD COLUMN error_message text,
    ADD COLUMN error_code text, ADD COLUMN error_attempts text;

DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['audit_log', 'breakers'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO medialane_app USING (tenant_id = (SELECT current_tenant()))
                        WITH CHECK (tenant_id = (SELECT current_tenant()))', part);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO medialane_worker USING (true) WITH CHECK (true)', part);
    END LOOP;
END $$;

GRANT SELECT, INSERT ON audit_log TO medialane_app, medialane_worker;
GRANT SELECT ON breakers TO medialane_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON breakers TO medialane_worker;
-- Cancelling a job that leads a content hands the lead on.
GRANT UPDATE ON content TO medialane_app;
