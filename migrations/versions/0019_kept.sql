-- Only additions: the release before runs on this schema.

-- A page of a tenant's keys, newest first; those that still work, of which it has only so many; those that ended long ago;
-- and, where one of them goes, the key that it was followed by.
CREATE INDEX IF NOT EXISTS api_keys_listing ON api_keys (tenant_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS api_keys_living ON api_keys (tenant_id) WHERE revoked_at IS NULL;
CREATE INDEX IF NOT EXISTS api_keys_ended ON api_keys (least(revoked_at, expires_at))
    WHERE least(revoked_at, expires_at) IS NOT NULL;
CREATE INDEX IF NOT EXISTS api_keys_replaces ON api_keys (replaces) WHERE replaces IS NOT NULL;

-- Entries of the audit log end with age, and in no other way: nobody's role may delete one. `audit_log_listing` finds them.
CREATE FUNCTION audit_log_purge(keep interval, batch int) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH old AS (
        DELETE FROM audit_log WHERE id IN (
            SELECT id FROM audit_log WHERE at < now() - greatest(keep, interval '30 days')
            ORDER BY at, id LIMIT batch FOR UPDATE SKIP LOCKED
        ) RETURNING id
    )
    SELECT count(*) FROM old
$$;
REVOKE ALL ON FUNCTION audit_log_purge(interval, int) FROM public;
GRANT EXECUTE ON FUNCTION audit_log_purge(interval, int) TO medialane_worker;
