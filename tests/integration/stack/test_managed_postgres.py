"""A Postgres that somebody else runs: its master user may make roles, and is no superuser."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

import migrations
from cli.stack import Stack
from migrations import runner

pytestmark = pytest.mark.stack
ROLES = ["medialane_app", "medialane_owner", "medialane_replication", "medialane_worker"]
MADE = "SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'medialane\\_%'"


@pytest.fixture
def superuser(folder):
    """A connection to a server without any of Medialane's roles: they belong to all of its databases."""
    with Stack.start(folder, parts=("postgres",)) as stack:
        address = stack.env["MEDIALANE_MIGRATION_DATABASE_URL"]
        with psycopg.connect(address, dbname="postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE medialane WITH (FORCE)")
            connection.execute(f"DROP ROLE {', '.join(ROLES)}")
            yield connection


@pytest.fixture
def managed(superuser):
    """The address of a master user's own database."""
    superuser.execute("CREATE ROLE master LOGIN CREATEROLE PASSWORD 'secret'")
    superuser.execute("CREATE DATABASE managed OWNER master")
    info = superuser.info
    return f"postgresql://master:secret@{info.host}:{info.port}/managed"


def test_a_master_user_migrates_once_the_replication_role_is_there(superuser, managed):
    with pytest.raises(
        migrations.RoleNeededError, match=r"no role medialane_replication, .* rds_replication .* again$"
    ):
        migrations.upgrade(managed)
    assert migrations.current(managed) is None
    assert superuser.execute(MADE).fetchone() == (None,), "nothing half done"

    with psycopg.connect(managed, autocommit=True) as master:
        master.execute("CREATE ROLE medialane_replication LOGIN")  # and what the provider has for REPLICATION
    assert migrations.upgrade(managed)[-1] == migrations.head()
    assert runner.pending(managed) == []
    assert superuser.execute(MADE).fetchone() == (ROLES,)

    with psycopg.connect(managed, autocommit=True) as master:
        master.execute("ALTER ROLE medialane_worker PASSWORD 'worker'")
        tables = master.execute("SELECT tablename FROM pg_publication_tables ORDER BY 1").fetchall()
        assert tables == [("outbox",), ("outbox_heartbeat",)]
    worker = make_conninfo(managed, user="medialane_worker", password="worker")
    with psycopg.connect(worker, autocommit=True) as connection:
        assert connection.execute("SELECT outbox_rotate(interval '1 day', '')").fetchall() == [], "as its owner"
        connection.execute("INSERT INTO tenants (id, slug) VALUES (gen_random_uuid(), 'acme')")
