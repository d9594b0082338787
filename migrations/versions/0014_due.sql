-- Only additions: the release before runs on this schema.

-- What came due in the last seconds, whosever it is. NULLS LAST, where DESC alone has them first: so it is in nobody else's
-- order, and an endpoint's deliveries, oldest first, are never sought by walking over those of all others.
CREATE INDEX IF NOT EXISTS webhook_deliveries_newly_due ON webhook_deliveries (due_at DESC NULLS LAST) WHERE state = 'waiting';
