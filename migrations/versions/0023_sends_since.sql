-- Only additions: the release before runs on this schema.

-- When an endpoint was last switched on: what happened earlier is not sent to it, however late it is planned or read again.
-- None: never, and the time of its registration counts. The release before goes by that, and does not write this.
ALTER TABLE webhook_endpoints ADD COLUMN sends_since timestamptz;
