-- Only additions: the release before runs on this schema. It tries a delivery that was sent again once, where this one
-- goes through the schedule anew.

-- Of the millions of deliveries that an endpoint has had, those that are dead, in the order of their events: what is
-- delivered never enters.
CREATE INDEX IF NOT EXISTS webhook_deliveries_dead ON webhook_deliveries (endpoint_id, event_id) WHERE state = 'dead';
-- And those about one asset.
CREATE INDEX IF NOT EXISTS webhook_deliveries_asset ON webhook_deliveries (asset_id);

-- Attempts that were made before the delivery was last sent again, if it ever was: the schedule counts from there, the log
-- goes on.
ALTER TABLE webhook_deliveries ADD attempts_before int;
