-- The release before runs on this schema: nothing is taken away that it relies on.

-- The version of the object that complete saw, where the bucket keeps versions: what is put over it changes nothing.
ALTER TABLE assets ADD version_id text;

-- A tenant that is being removed: nobody is let in for it, while its row has to stay until all else has gone.
ALTER TABLE tenants ADD closed_at timestamptz;
CREATE OR REPLACE FUNCTION find_principal(wanted text)
RETURNS TABLE (key_id uuid, secret_hash bytea, scopes text[], expires_at timestamptz, revoked_at timestamptz,
    tenant_id uuid, slug text, origins text[], plan text, requests_per_s int, request_burst int, max_assets bigint,
    max_bytes bigint, max_uploads int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id, k.secret_hash, k.scopes, k.expires_at, k.revoked_at, t.id, t.slug, t.allowed_origins, p.name,
        p.requests_per_s, p.request_burst, p.max_assets, p.max_bytes, p.max_uploads
    FROM api_keys k JOIN tenants t ON t.id = k.tenant_id JOIN plans p ON p.name = t.plan
    WHERE k.prefix = wanted AND t.closed_at IS NULL
$$;
CREATE OR REPLACE FUNCTION find_tenant_of_token(wanted text)
RETURNS TABLE (tenant_id uuid, slug text, origins text[], plan text, requests_per_s int, request_burst int,
    max_assets bigint, max_bytes bigint, max_uploads int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.id, t.slug, t.allowed_origins, p.name, p.requests_per_s, p.request_burst, p.max_assets, p.max_bytes,
        p.max_uploads
    FROM tenants t JOIN plans p ON p.name = t.plan WHERE t.slug = wanted AND t.closed_at IS NULL
$$;
