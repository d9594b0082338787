-- Gives the database roles, which the migrations make, their passwords. Run with psql after every migration:
-- it may be repeated, and a changed password takes effect with the next run.
-- The passwords come from the environment, so that they are on no command line.
\set ON_ERROR_STOP on
\getenv app_password APP_DB_PASSWORD
\getenv worker_password WORKER_DB_PASSWORD
\getenv replication_password REPLICATION_DB_PASSWORD
SET password_encryption = 'scram-sha-256';
ALTER ROLE medialane_app PASSWORD :'app_password';
ALTER ROLE medialane_worker PASSWORD :'worker_password';
ALTER ROLE medialane_replication PASSWORD :'replication_password';
