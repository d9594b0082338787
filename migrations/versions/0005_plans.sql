-- What a tenant may do, as data; what an upload is beyond one PUT. Only new tables, and columns with defaults.

-- NULL: no limit.
CREATE TABLE plans (
    name            text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    requests_per_s  int    CHECK (requests_per_s >= 1),
    request_burst   int    CHECK (request_burst >= 1),
    max_assets      bigint CHECK (max_assets >= 0),
    max_bytes       bigint CHECK (max_bytes >= 0),
    max_uploads     int    CHECK (max_uploads >= 1),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((requests_per_s IS NULL) = (request_burst IS NULL))
);
INSERT INTO plans (name, requests_per_s, request_burst, max_assets, max_bytes, max_uploads) VALUES
    ('trial', 20, 100, 1000, 5368709120, 20),
    ('standard', 1000, 5000, NULL, NULL, NULL),
    ('unlimited', NULL, NULL, NULL, NULL, NULL);

ALTER TABLE tenants
    ADD plan text NOT NULL DEFAULT 'standard' REFERENCES plans,
    ADD allowed_origins text[] NOT NULL DEFAULT '{}';

-- What is left of a tenant's plan. Processes lease blocks of it, so the row is no hot one. Tokens are as of
-- `refilled_at` (NULL: the bucket is full); `assets` and `bytes` are what is used (NULL: to be counted).
CREATE TABLE allowances (
    tenant_id    uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    tokens       double precision,
    refilled_at  timestamptz,
    assets       bigint,
    bytes        bigint
) WITH (fillfactor = 50);
ALTER TABLE allowances ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON allowances TO medialane_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
CREATE POLICY every_tenant ON allowances TO medialane_worker USING (true) WITH CHECK (true);

-- `replaces`: the key that this one was made for by rotation.
ALTER TABLE api_keys ADD replaces uuid REFERENCES api_keys ON DELETE SET NULL;

-- `upload_expires_at`: when the last signed address ends. `upload_id` is the object store's own, of a multipart upload.
ALTER TABLE assets
    ADD upload_expires_at timestamptz NOT NULL DEFAULT now(),
    ADD upload_id text,
    ADD expected_sha256 bytea CHECK (octet_length(expected_sha256) = 32),
    ADD metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object' AND octet_length(metadata::text) <= 16384),
    ADD tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 64);
-- Partial by what changes once, at complete. (It saves little: a change of the state writes into all indexes of the row in
-- any case, since assets_purge looks at the state, and assets_state of 0011 does.)
CREATE INDEX assets_open ON assets (tenant_id, upload_expires_at) WHERE uploaded_at IS NULL;
CREATE INDEX assets_metadata ON assets USING gin (metadata jsonb_path_ops) WHERE metadata <> '{}';
CREATE INDEX assets_tags ON assets USING gin (tags) WHERE tags <> '{}';

-- The API must find a key, or the tenant of a token, before it knows the tenant; row-level security shows nothing else.
CREATE FUNCTION find_principal(wanted text)
RETURNS TABLE (key_id uuid, secret_hash bytea, scopes text[], expires_at timestamptz, revoked_at timestamptz,
    tenant_id uuid, slug text, origins text[], plan text, requests_per_s int, request_burst int, max_assets bigint,
    max_bytes bigint, max_uploads int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, t.id, t.slug, t.allowed_origins, p.name,
        p.requests_per_s, p.request_burst, p.max_assets, p.max_bytes, p.max_uploads
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id JOIN plans p ON p.name = t.plan WHERE k.prefix = wanted
$$;
CREATE FUNCTION find_tenant_of_token(wanted text)
RETURNS TABLE (tenant_id uuid, slug text, origins text[], plan text, requests_per_s int, request_burst int,
    max_assets bigint, max_bytes bigint, max_uploads int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.id, t.slug, t.allowed_origins, p.name, p.requests_per_s, p.request_burst, p.max_assets, p.max_bytes,
        p.max_uploads
    FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.slug = wanted
$$;
-- A browser's preflight carries no key: it may pass if any tenant names the origin; the answer itself asks the tenant's.
CREATE FUNCTION is_known_origin(wanted text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM tenants WHERE allowed_origins @> ARRAY[wanted] OR allowed_origins @> ARRAY['*'])
$$;
CREATE FUNCTION touch_api_keys(ids uuid[], seen timestamptz[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH used AS (
        SELECT k.id, u.seen FROM unnest(ids, seen) AS u (id, seen) JOIN api_keys k ON k.id = u.id
        ORDER BY k.id FOR NO KEY UPDATE OF k SKIP LOCKED
    )
    UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, used.seen) FROM used WHERE k.id = used.id
$$;
REVOKE ALL ON FUNCTION find_principal(text), find_tenant_of_token(text), is_known_origin(text),
    touch_api_keys(uuid[], timestamptz[]) FROM public;
GRANT EXECUTE ON FUNCTION find_principal(text), find_tenant_of_token(text), is_known_origin(text),
    touch_api_keys(uuid[], timestamptz[]) TO medialane_app;

GRANT SELECT ON plans TO medialane_app;
GRANT SELECT, INSERT, UPDATE ON allowances TO medialane_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON plans, allowances TO medialane_worker;
