"""What the app role may touch of each table that knows tenants: its own tenant's rows, or nothing that it could read."""

import psycopg
import pytest

# A table may be written to and never read (the outbox); what may be read or changed is under the policy, and no other.
_OPEN = """
    SELECT c.relname FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND (c.relname = 'tenants' OR EXISTS (
        SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    )) AND (
        has_any_column_privilege('medialane_app', c.oid, 'SELECT, UPDATE')
        OR has_table_privilege('medialane_app', c.oid, 'DELETE, TRUNCATE')
        OR (has_any_column_privilege('medialane_app', c.oid, 'INSERT') AND c.relname <> 'outbox')
    ) AND NOT (c.relrowsecurity AND (
        SELECT array_agg((p.policyname, p.permissive, p.cmd, p.qual ~ 'current_tenant', p.with_check ~ 'current_tenant')::text)
            IS NOT DISTINCT FROM ARRAY['(own_tenant,PERMISSIVE,ALL,t,t)']
        FROM pg_policies AS p
        WHERE p.schemaname = 'public' AND p.tablename = c.relname AND p.roles && ARRAY['medialane_app', 'public']::name[]
    ))
    ORDER BY 1
"""


@pytest.fixture
def owner(database):
    """A transaction of the owner role's that leaves nothing behind."""
    with psycopg.connect(database.owner) as connection:
        yield connection
        connection.rollback()


def open_tables(owner):
    return [name for (name,) in owner.execute(_OPEN)]


def test_no_table_is_open_to_other_tenants(owner):
    assert open_tables(owner) == []


@pytest.mark.parametrize(
    ("change", "opened"),
    [
        ("DROP POLICY own_tenant ON content", ["content"]),
        ("DROP POLICY own_tenant ON assets", ["assets"]),
        ("ALTER TABLE idempotency_keys DISABLE ROW LEVEL SECURITY", ["idempotency_keys"]),
        ("ALTER POLICY own_tenant ON profile_sets WITH CHECK (true)", ["profile_sets"]),
        ("CREATE POLICY all_of_them ON assets FOR SELECT USING (true)", ["assets"]),
        ("CREATE TABLE newer (tenant_id uuid); GRANT SELECT (tenant_id) ON newer TO medialane_app", ["newer"]),
        ("CREATE TABLE newer (tenant_id uuid); GRANT INSERT ON newer TO medialane_app", ["newer"]),
        ("CREATE TABLE newer (tenant_id uuid)", []),
    ],
)
def test_one_that_is_opened_is_noticed(owner, change, opened):
    owner.execute(change)
    assert open_tables(owner) == opened
