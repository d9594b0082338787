-- Assets by tag or metadata, in page order. Only additions: the release before runs on this schema, and its rows are
-- entered by the trigger. Each statement may be repeated: what comes after them in the step may be broken off.

-- Under row-level security only what is leakproof is asked of an index; equality is, and what an array or a document holds
-- is not. So each tag, and each entry of the metadata, of each asset that is not deleted has a row here. No references to
-- others: the trigger keeps it with the asset, and a list looks at the asset itself in any case.
CREATE TABLE IF NOT EXISTS asset_terms (
    tenant_id   uuid        NOT NULL,
    term        bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    asset_id    uuid        NOT NULL,
    PRIMARY KEY (tenant_id, term, created_at, asset_id)
);
-- By inserts, too: a page is read from the index alone where vacuum has been.
ALTER TABLE asset_terms SET (autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_insert_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0.01);
ALTER TABLE asset_terms ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own_tenant ON asset_terms;
CREATE POLICY own_tenant ON asset_terms TO medialane_app
    USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
DROP POLICY IF EXISTS every_tenant ON asset_terms;
CREATE POLICY every_tenant ON asset_terms TO medialane_worker USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON asset_terms TO medialane_app, medialane_worker;

-- Short and of one length, however long a tag is. No text holds a zero byte: an entry is told from a tag by it.
CREATE OR REPLACE FUNCTION terms_of(tags text[], metadata jsonb) RETURNS bytea[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ARRAY(
        SELECT substr(sha256(convert_to(tag, 'UTF8')), 1, 8) FROM unnest(tags) AS tag
        UNION ALL
        SELECT substr(sha256(convert_to(key, 'UTF8') || '\x00'::bytea || convert_to(value, 'UTF8')), 1, 8)
        FROM jsonb_each_text(metadata)
    )
$$;

-- As whoever writes the asset, and under their policy.
CREATE OR REPLACE FUNCTION enter_terms() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.deleted_at IS NULL THEN
        DELETE FROM asset_terms WHERE tenant_id = OLD.tenant_id AND term = ANY(terms_of(OLD.tags, OLD.metadata))
            AND created_at = OLD.created_at AND asset_id = OLD.id;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.deleted_at IS NULL THEN
        INSERT INTO asset_terms (tenant_id, term, created_at, asset_id)
        SELECT NEW.tenant_id, term, NEW.created_at, NEW.id FROM unnest(terms_of(NEW.tags, NEW.metadata)) AS term
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER terms_made AFTER INSERT ON assets FOR EACH ROW
    WHEN (NEW.tags <> '{}' OR NEW.metadata <> '{}') EXECUTE FUNCTION enter_terms();
CREATE OR REPLACE TRIGGER terms_changed AFTER UPDATE OF tags, metadata, deleted_at ON assets FOR EACH ROW
    WHEN ((OLD.tags, OLD.metadata, OLD.deleted_at) IS DISTINCT FROM (NEW.tags, NEW.metadata, NEW.deleted_at))
    EXECUTE FUNCTION enter_terms();
CREATE OR REPLACE TRIGGER terms_gone AFTER DELETE ON assets FOR EACH ROW
    WHEN (OLD.tags <> '{}' OR OLD.metadata <> '{}') EXECUTE FUNCTION enter_terms();

-- How far the assets that were there before have been entered.
CREATE TABLE IF NOT EXISTS terms_entered (up_to uuid NOT NULL);
INSERT INTO terms_entered SELECT '00000000-0000-0000-0000-000000000000' WHERE NOT EXISTS (SELECT FROM terms_entered);
