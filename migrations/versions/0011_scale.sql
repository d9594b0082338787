-- Only additions: the release before runs on this schema.

-- Is anybody at work on these bytes? Asked for each content whose objects are to go.
CREATE INDEX IF NOT EXISTS jobs_content ON jobs (tenant_id, content_sha256)
    WHERE state IN ('waiting', 'queued', 'running') AND content_sha256 IS NOT NULL;

-- Answers are deleted a day after their request.
CREATE INDEX IF NOT EXISTS idempotency_keys_age ON idempotency_keys (created_at);

-- A page of a tenant's assets is found without walking over those that it has deleted, or that are not asked for.
-- `assets_listing` stays for whoever pages through all of them. What that costs: each of an asset's three or four changes
-- of state writes a new entry into every index that holds the row, so into three more now.
CREATE INDEX IF NOT EXISTS assets_live ON assets (tenant_id, created_at DESC, id DESC) INCLUDE (size)
    WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS assets_state ON assets (tenant_id, state, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX IF NOT EXISTS assets_kind ON assets (tenant_id, kind, created_at DESC, id DESC) WHERE deleted_at IS NULL;
-- The rows of purged assets go some days later.
CREATE INDEX IF NOT EXISTS assets_purged ON assets (purged_at) WHERE purged_at IS NOT NULL;
-- Open uploads in parts are looked at in turn.
CREATE INDEX IF NOT EXISTS assets_open_parts ON assets (id) WHERE upload_id IS NOT NULL AND uploaded_at IS NULL;

-- Deliveries that ended are kept for a time only.
CREATE INDEX IF NOT EXISTS webhook_deliveries_ended ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- Each heartbeat, retry and attempt leaves a dead entry at that end of an index that is read every second. By default they
-- would be cleared away when a fifth of the table is dead: of ninety million jobs, after weeks. And a vacuum that finds few
-- dead rows leaves the indexes as they are, unless it is told.
ALTER TABLE jobs SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.002, vacuum_index_cleanup = on);
ALTER TABLE webhook_deliveries SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.002, vacuum_index_cleanup = on);
ALTER TABLE assets SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.01);
ALTER TABLE content SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.01);

-- A slot that was lost and made anew counts every closed day as confirmed at once, before its snapshot has read them. So a
-- day goes only some hours after it was first seen confirmed.
ALTER TABLE outbox_partitions ADD COLUMN IF NOT EXISTS confirmed_at timestamptz;
CREATE OR REPLACE FUNCTION outbox_rotate(keep interval, slot text) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    day date;
    part text;
    old record;
    confirmed pg_lsn;
    grace CONSTANT interval := '6 hours';
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
    UPDATE outbox_partitions SET closed_lsn = pg_current_wal_lsn()
        WHERE closed_lsn IS NULL AND upper_bound < now() - interval '1 minute';
    SELECT confirmed_flush_lsn INTO confirmed FROM pg_replication_slots
        WHERE slot_name = slot AND database = current_database();
    -- Anew whenever the slot is gone or behind: one that was made again confirms at once what it has yet to read.
    UPDATE outbox_partitions SET confirmed_at = CASE WHEN closed_lsn <= confirmed THEN now() END
        WHERE coalesce(closed_lsn <= confirmed, false) <> (confirmed_at IS NOT NULL);
    FOR old IN SELECT name FROM outbox_partitions
               WHERE upper_bound < now() - keep AND confirmed_at <= now() - grace ORDER BY upper_bound LOOP
        EXECUTE format('DROP TABLE %I', old.name);
        DELETE FROM outbox_partitions WHERE name = old.name;
        RETURN NEXT old.name;
    END LOOP;
    DELETE FROM outbox_heartbeat WHERE at < now() - keep;
END $$;

-- A walk over the whole bucket takes hours: it is one of all keepers', and outlasts each. `position`: the last key that was
-- looked at; NULL: no walk is under way, and the next begins some time after `began_at`.
CREATE TABLE sweeps (
    name         text PRIMARY KEY,
    began_at     timestamptz NOT NULL DEFAULT now(),
    position     text,
    lease_until  timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO sweeps (name) VALUES ('orphans');
GRANT SELECT, UPDATE ON sweeps TO medialane_worker;
