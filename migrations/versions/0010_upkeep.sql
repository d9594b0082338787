-- The release before runs on this schema: nothing is taken away that it relies on.

-- Days begin in UTC, whatever the zone of the server or of the session that asks: partitions made in two zones overlap.
ALTER FUNCTION outbox_rotate(interval, text) SET timezone = 'UTC';
