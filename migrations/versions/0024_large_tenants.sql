-- Only statistics: the release before runs on this schema.

-- A plan that is made once for all tenants is made for an average one, and where thousands have a handful of rows each, it
-- reads all of a tenant's rows to find a few whose keys it was given: the largest tenant's completes would read its assets
-- from end to end. So the planner is told of fifty tenants; no tenant is then smaller to it than a fiftieth of the table, or
-- than the largest one if that is less. It holds from the next look at the table on.
ALTER TABLE assets ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE jobs ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE content ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE content_stages ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE variants ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE asset_events ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE webhook_deliveries ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE dead_letters ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE audit_log ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE idempotency_keys ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
ALTER TABLE asset_terms ALTER COLUMN tenant_id SET (n_distinct = 50);
COMMIT; BEGIN;
-- Large tables are looked at now. An empty one is not: the planner would then know it as empty, and read it from end to end
-- until the next look, when it has thousands of rows.
DO $$
DECLARE
    named text;
    is_large boolean;
BEGIN
    FOREACH named IN ARRAY ARRAY['assets', 'jobs', 'content', 'content_stages', 'variants', 'asset_events',
        'webhook_deliveries', 'asset_terms'] LOOP
        EXECUTE format('SELECT count(*) = 1000 FROM (SELECT FROM %I LIMIT 1000) AS looked_at', named) INTO is_large;
        IF is_large THEN
            EXECUTE format('ANALYZE %I', named);
        END IF;
    END LOOP;
END $$;
