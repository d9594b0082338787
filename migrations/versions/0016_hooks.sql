-- Only additions: the release before runs on this schema.

-- How many endpoints are disabled is asked again and again, and is not to cost what deleted ones there are.
CREATE INDEX IF NOT EXISTS webhook_endpoints_disabled ON webhook_endpoints (id) WHERE NOT enabled AND deleted_at IS NULL;
-- Those whose time is over, the oldest first.
CREATE INDEX IF NOT EXISTS webhook_endpoints_deleted ON webhook_endpoints (deleted_at) WHERE deleted_at IS NOT NULL;

-- What the tenant says that it is for; and, after a rotation, the secret before (sealed, too), which deliveries are signed
-- with beside the new one until then. The release before signs with the new one alone.
ALTER TABLE webhook_endpoints
    ADD COLUMN description text NOT NULL DEFAULT '',
    ADD COLUMN secret_old bytea,
    ADD COLUMN secret_old_until timestamptz;
