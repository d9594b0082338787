-- What lanes and tenants may have, changed while workers run: every worker reads both tables every few seconds.

-- A row overrides what each worker's own settings say; a column that is NULL leaves that to them.
CREATE TABLE lane_settings (
    topic           text PRIMARY KEY,
    running         int CHECK (running BETWEEN 1 AND 256),
    window_records  int CHECK (window_records BETWEEN 4 AND 4096),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- Tenants without a row have weight 1 and no cap.
CREATE TABLE tenant_shares (
    tenant_id   uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    weight      double precision NOT NULL DEFAULT 1 CHECK (weight > 0 AND weight <= 1000),
    cap         int NOT NULL DEFAULT 0 CHECK (cap >= 0),
    updated_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tenant_shares ENABLE ROW LEVEL SECURITY;
CREATE POLICY every_tenant ON tenant_shares TO medialane_worker USING (true) WITH CHECK (true);

-- No grant for the app role: what a tenant may have is not the tenant's to see or to change.
GRANT SELECT, INSERT, UPDATE, DELETE ON lane_settings, tenant_shares TO medialane_worker;
