-- Tables of the spine. Written as SQL because the protocol lives in constraints, partial indexes, policies and a
-- publication that a table builder would only hide.

CREATE TABLE tenants (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{1,62}$'),
    credits     int  NOT NULL DEFAULT 64 CHECK (credits >= 1),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- The partitions that are confirmed to exist. An outbox row may only name one of these: a number above them would
-- fail the connector on that row at every restart.
CREATE TABLE partitions (
    topic         text NOT NULL,
    kpart         int  NOT NULL CHECK (kpart >= 0),
    confirmed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, kpart)
);

CREATE TABLE placements (
    tenant_id  uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    bucket     int  NOT NULL DEFAULT 0 CHECK (bucket >= 0),
    topic      text NOT NULL,
    kpart      int  NOT NULL,
    PRIMARY KEY (tenant_id, topic, bucket),
    FOREIGN KEY (topic, kpart) REFERENCES partitions (topic, kpart)
);

CREATE TABLE api_keys (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    prefix        text NOT NULL UNIQUE,
    secret_hash   bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    name          text NOT NULL DEFAULT '',
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id);

CREATE TABLE assets (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    state           text NOT NULL CHECK (state IN ('pending', 'uploaded', 'processing', 'ready', 'failed', 'deleted')),
    generation      int  NOT NULL DEFAULT 1 CHECK (generation >= 1),
    event_seq       bigint NOT NULL DEFAULT 0,
    events_kpart    int,
    kind            text NOT NULL CHECK (kind IN ('image', 'video')),
    file_name       text NOT NULL,
    content_type    text NOT NULL,
    size            bigint NOT NULL CHECK (size > 0),
    object_key      text NOT NULL UNIQUE,
    etag            text,
    content_sha256  bytea CHECK (octet_length(content_sha256) = 32),
    width           int,
    height          int,
    duration_s      double precision,
    error_code      text,
    error_detail    text,
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    uploaded_at     timestamptz,
    finished_at     timestamptz
) WITH (fillfactor = 80);
CREATE INDEX assets_listing ON assets (tenant_id, created_at DESC, id DESC);

-- Bytes that a tenant has uploaded at least once. The leader is the job that processes them; twins wait for it.
CREATE TABLE content (
    tenant_id      uuid  NOT NULL REFERENCES tenants ON DELETE CASCADE,
    sha256         bytea NOT NULL CHECK (octet_length(sha256) = 32),
    state          text  NOT NULL CHECK (state IN ('open', 'done', 'failed')),
    leader_job_id  uuid  NOT NULL,
    width          int,
    height         int,
    duration_s     double precision,
    error_code     text,
    error_detail   text,
    updated_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, sha256)
);

-- A job is dispatched while its tenant has credit: at most `tenants.credits` rows per topic are queued or running, counted
-- from the rows themselves. The others wait; `turn_at` orders them (work that may yield gets a later turn, so it ages).
CREATE TABLE jobs (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    asset_id        uuid NOT NULL REFERENCES assets ON DELETE CASCADE,
    generation      int  NOT NULL,
    stage           text NOT NULL,
    topic           text NOT NULL,
    state           text NOT NULL CHECK (state IN ('waiting', 'queued', 'running', 'done', 'failed', 'cancelled')),
    reason          text CHECK (reason IN ('credit', 'retry', 'twin', 'breaker', 'cap')),
    due_at          timestamptz,
    dispatch        int  NOT NULL DEFAULT 1,
    epoch           int  NOT NULL DEFAULT 0,
    owner           text,
    lease_until     timestamptz,
    attempts        int  NOT NULL DEFAULT 0,
    deaths          int  NOT NULL DEFAULT 0,
    bucket          int  NOT NULL DEFAULT 0,
    content_sha256  bytea,
    traceparent     text,
    error_code      text,
    error_detail    text,
    emissions       int  NOT NULL DEFAULT 1,
    next_emit_at    timestamptz,
    turn_at         timestamptz NOT NULL DEFAULT now(),
    report          jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    emitted_at      timestamptz,
    started_at      timestamptz,
    finished_at     timestamptz,
    UNIQUE (asset_id, stage, generation),
    CHECK ((state = 'waiting') = (reason IS NOT NULL)),
    CHECK ((state = 'running') = (lease_until IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX jobs_due ON jobs (due_at) WHERE state = 'waiting';
CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_owner ON jobs (owner) WHERE state = 'running';
CREATE INDEX jobs_emissions ON jobs (next_emit_at) WHERE state = 'queued';
CREATE INDEX jobs_credit ON jobs (tenant_id, topic) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_turn ON jobs (tenant_id, topic, turn_at, id) WHERE state = 'waiting' AND reason = 'credit';
CREATE INDEX jobs_twins ON jobs (tenant_id, content_sha256) WHERE state = 'waiting' AND reason = 'twin';

CREATE TABLE variants (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    asset_id         uuid NOT NULL REFERENCES assets ON DELETE CASCADE,
    generation       int  NOT NULL,
    profile          text NOT NULL,
    profile_version  int  NOT NULL,
    content_sha256   bytea NOT NULL,
    object_key       text NOT NULL,
    content_type     text NOT NULL,
    format           text NOT NULL,
    width            int  NOT NULL,
    height           int  NOT NULL,
    duration_s       double precision,
    size             bigint NOT NULL,
    sha256           bytea NOT NULL CHECK (octet_length(sha256) = 32),
    created_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (asset_id, profile)
);
CREATE INDEX variants_content ON variants (tenant_id, content_sha256, profile, profile_version);

-- One row per event: the timeline of an asset, and what makes an event happen once per (asset, generation, type, subject).
CREATE TABLE asset_events (
    asset_id    uuid NOT NULL REFERENCES assets ON DELETE CASCADE,
    seq         bigint NOT NULL,
    tenant_id   uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id          uuid NOT NULL,
    generation  int  NOT NULL,
    type        text NOT NULL,
    subject     text NOT NULL,
    payload     text NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (asset_id, seq),
    UNIQUE (asset_id, generation, type, subject)
);

CREATE TABLE dead_letters (
    id           uuid PRIMARY KEY,
    tenant_id    uuid REFERENCES tenants ON DELETE CASCADE,
    job_id       uuid REFERENCES jobs ON DELETE CASCADE,
    asset_id     uuid,
    topic        text NOT NULL,
    kpart        int,
    koffset      bigint,
    key          bytea,
    value        bytea,
    headers      jsonb NOT NULL DEFAULT '[]',
    code         text NOT NULL,
    detail       text NOT NULL,
    attempts     int  NOT NULL DEFAULT 0,
    traceparent  text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    replayed_at  timestamptz,
    UNIQUE (topic, kpart, koffset)
);
CREATE INDEX dead_letters_listing ON dead_letters (created_at);

-- Rows that Debezium carries to Kafka. `aggregatetype` is the topic's route; payloads are references, never media.
CREATE TABLE outbox (
    id             uuid NOT NULL,
    aggregatetype  text NOT NULL,
    aggregateid    text NOT NULL,
    kkey           text NOT NULL,
    tenant_id      text,
    type           text NOT NULL,
    seq            bigint,
    kpart          int,
    payload        text NOT NULL CHECK (octet_length(payload) <= 65536),
    traceparent    text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, created_at),
    FOREIGN KEY (aggregatetype, kpart) REFERENCES partitions (topic, kpart)
) PARTITION BY RANGE (created_at);
CREATE TABLE outbox_default PARTITION OF outbox DEFAULT;

-- When each day's partition was first seen closed, and how far the WAL was then: it may go once the connector is past that.
CREATE TABLE outbox_partitions (
    name        text PRIMARY KEY,
    upper_bound timestamptz NOT NULL,
    closed_lsn  pg_lsn
);

-- A row from time to time keeps the slot moving while nothing else happens.
CREATE TABLE outbox_heartbeat (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE webhook_endpoints (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    url          text NOT NULL,
    secret       bytea NOT NULL,
    events       text[] NOT NULL,
    enabled      boolean NOT NULL DEFAULT true,
    disabled_reason text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz
);
CREATE INDEX webhook_endpoints_tenant ON webhook_endpoints (tenant_id) WHERE deleted_at IS NULL;

CREATE TABLE webhook_deliveries (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    endpoint_id  uuid NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    event_id     uuid NOT NULL,
    event_type   text NOT NULL,
    asset_id     uuid NOT NULL,
    seq          bigint NOT NULL,
    payload      text NOT NULL,
    traceparent  text,
    state        text NOT NULL CHECK (state IN ('sending', 'waiting', 'delivered', 'dead')),
    epoch        int  NOT NULL DEFAULT 1,
    attempts     int  NOT NULL DEFAULT 0,
    owner        text,
    lease_until  timestamptz,
    due_at       timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    UNIQUE (endpoint_id, event_id)
) WITH (fillfactor = 80);
-- By endpoint first: the due work of one is found without walking over what waits for another that hangs.
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_leases ON webhook_deliveries (lease_until) WHERE state = 'sending';

CREATE TABLE webhook_attempts (
    delivery_id  uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    attempt      int  NOT NULL,
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    outcome      text,
    status       int,
    response     text CHECK (octet_length(response) <= 4096),
    traceparent  text,
    PRIMARY KEY (delivery_id, attempt)
);

CREATE TABLE idempotency_keys (
    tenant_id    uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    key          text NOT NULL CHECK (octet_length(key) <= 255),
    fingerprint  bytea NOT NULL,
    state        text NOT NULL CHECK (state IN ('running', 'done')),
    status       int,
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, key)
);

-- Only inserts are published: the outbox is append-only and partitions are dropped, not deleted from.
CREATE PUBLICATION medialane_outbox FOR TABLE outbox, outbox_heartbeat
    WITH (publish = 'insert', publish_via_partition_root = true);

-- Makes partitions for the coming days and drops those that are old enough and confirmed by every slot of this
-- database's publication. Runs as the owner because the keeper's role owns no tables. Returns what it dropped.
CREATE FUNCTION outbox_rotate(keep interval, slot text) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    day date;
    part text;
    old record;
    confirmed pg_lsn;
BEGIN
    FOR day IN SELECT generate_series(current_date, current_date + 2, interval '1 day')::date LOOP
        part := 'outbox_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
        -- Rows that came while no partition existed stay in the default one; their day cannot be attached any more.
        CONTINUE WHEN EXISTS (SELECT FROM outbox_default WHERE created_at >= day AND created_at < day + 1);
        EXECUTE format('CREATE TABLE %I PARTITION OF outbox FOR VALUES FROM (%L) TO (%L)',
                       part, day::timestamptz, (day + 1)::timestamptz);
        INSERT INTO outbox_partitions (name, upper_bound) VALUES (part, day + 1);
    END LOOP;
    UPDATE outbox_partitions SET closed_lsn = pg_current_wal_lsn() WHERE closed_lsn IS NULL AND upper_bound < now() - interval '1 minute';
    SELECT confirmed_flush_lsn INTO confirmed FROM pg_replication_slots
        WHERE slot_name = slot AND database = current_database();
    FOR old IN SELECT name FROM outbox_partitions
               WHERE upper_bound < now() - keep AND closed_lsn <= confirmed ORDER BY upper_bound LOOP
        EXECUTE format('DROP TABLE %I', old.name);
        DELETE FROM outbox_partitions WHERE name = old.name;
        RETURN NEXT old.name;
    END LOOP;
    DELETE FROM outbox_heartbeat WHERE at < now() - keep;
END $$;

-- The API must find a key before it knows the tenant; row-level security shows it nothing else.
CREATE FUNCTION find_api_key(wanted text)
RETURNS TABLE (id uuid, tenant_id uuid, slug text, secret_hash bytea, scopes text[], expires_at timestamptz, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id, k.tenant_id, t.slug, k.secret_hash, k.scopes, k.expires_at, k.revoked_at
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id WHERE k.prefix = wanted
$$;
REVOKE ALL ON FUNCTION find_api_key(text), outbox_rotate(interval, text) FROM public;

CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('medialane.tenant_id', true), '')::uuid
$$;

DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['tenants', 'placements', 'api_keys', 'assets', 'content', 'jobs', 'variants', 'asset_events',
                                'dead_letters', 'webhook_endpoints', 'webhook_deliveries', 'webhook_attempts', 'idempotency_keys'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', part);
        EXECUTE format('CREATE POLICY own_tenant ON %I TO medialane_app USING (%I = (SELECT current_tenant()))
                        WITH CHECK (%I = (SELECT current_tenant()))',
                       part, CASE part WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END, CASE part WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END);
        EXECUTE format('CREATE POLICY every_tenant ON %I TO medialane_worker USING (true) WITH CHECK (true)', part);
    END LOOP;
END $$;

-- The outbox has no policy for reading: the app role may only add to it.
GRANT SELECT ON partitions TO medialane_app, medialane_worker;
GRANT INSERT, UPDATE ON partitions TO medialane_worker;
GRANT SELECT ON tenants, placements, api_keys TO medialane_app;
GRANT INSERT, UPDATE ON api_keys TO medialane_app;
GRANT SELECT, INSERT, UPDATE ON assets, jobs, asset_events, webhook_endpoints, webhook_deliveries, idempotency_keys TO medialane_app;
GRANT DELETE ON webhook_endpoints, idempotency_keys TO medialane_app;
GRANT SELECT ON content, variants, dead_letters, webhook_attempts TO medialane_app;
GRANT INSERT ON outbox TO medialane_app, medialane_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenants, placements, api_keys, assets, content, jobs, variants, asset_events, dead_letters,
    webhook_endpoints, webhook_deliveries, webhook_attempts, idempotency_keys TO medialane_worker;
GRANT SELECT ON outbox, outbox_partitions, outbox_heartbeat TO medialane_worker;
GRANT SELECT ON outbox, outbox_heartbeat TO medialane_replication;
GRANT INSERT ON outbox_heartbeat TO medialane_replication;
GRANT EXECUTE ON FUNCTION find_api_key(text) TO medialane_app;
GRANT EXECUTE ON FUNCTION outbox_rotate(interval, text) TO medialane_worker;
GRANT EXECUTE ON FUNCTION current_tenant() TO medialane_app, medialane_worker;

SELECT outbox_rotate(interval '1 day', '');
