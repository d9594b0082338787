-- Stages after the primary one, audio, what processing finds out about a source, and what tenants want made of it.

ALTER TABLE assets DROP CONSTRAINT assets_kind_check;
ALTER TABLE assets ADD CONSTRAINT assets_kind_check CHECK (kind IN ('image', 'video', 'audio'));
ALTER TABLE assets ADD COLUMN details jsonb;
ALTER TABLE content ADD COLUMN details jsonb;

-- What `content` is to primary stages: who processes these bytes in a secondary stage, and how that ended.
CREATE TABLE content_stages (
    tenant_id      uuid  NOT NULL REFERENCES tenants ON DELETE CASCADE,
    sha256         bytea NOT NULL CHECK (octet_length(sha256) = 32),
    stage          text  NOT NULL,
    state          text  NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    leader_job_id  uuid  NOT NULL,
    error_code     text,
    error_detail   text,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, sha256, stage),
    FOREIGN KEY (tenant_id, sha256) REFERENCES content ON DELETE CASCADE
);

ALTER TABLE content_stages ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON content_stages TO medialane_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY every_tenant ON content_stages TO medialane_worker USING (true) WITH CHECK (true);
-- Cancelling a job that leads hands the lead on.
GRANT SELECT, UPDATE ON content_stages TO medialane_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON content_stages TO medialane_worker;

-- What tenants want made of their uploads; those without a row get the default.
CREATE TABLE profile_sets (
    tenant_id   uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    choice      jsonb NOT NULL CHECK (pg_column_size(choice) <= 32768),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE profile_sets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON profile_sets TO medialane_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY every_tenant ON profile_sets TO medialane_worker USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON profile_sets TO medialane_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON profile_sets TO medialane_worker;
