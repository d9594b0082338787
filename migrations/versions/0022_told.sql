-- Only additions: the release before runs on this schema.

-- A process asks how far its database is: one whose release needs more says so and ends, before it fails at its first row.
GRANT SELECT ON alembic_version TO medialane_app, medialane_worker;
