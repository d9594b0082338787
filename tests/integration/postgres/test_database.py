"""The pool: connections that died are noticed, before their use if they were idle, by a typed error if not."""

import os
import socket
from contextlib import nullcontext

import psycopg
import pytest
import sqlalchemy as sa
from support import stack as shared

from connectors.postgres import database as module
from connectors.postgres.database import SCHEMA, Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.settings import DatabaseSettings, SettingsError

BACKENDS = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid")


async def backend(worker):
    async with worker.transaction() as connection:
        return (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()


@pytest.fixture
async def killed(worker, database):
    """A pool whose only connection was ended by the server."""
    pid = await backend(worker)
    engine = sa.create_engine(database.owner.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        assert connection.execute(BACKENDS, {"pid": pid}).scalar_one() is True
        while connection.execute(sa.text("SELECT FROM pg_stat_activity WHERE pid = :pid"), {"pid": pid}).first():
            pass
    return pid


async def test_a_connection_that_died_while_idle_is_replaced_unseen(worker, killed, monkeypatch):
    monkeypatch.setattr(module, "_TRUSTED_S", 0.0)
    assert await backend(worker) != killed


async def test_a_connection_that_died_in_use_is_one_typed_error_and_then_replaced(worker, killed, monkeypatch):
    monkeypatch.setattr(module, "_TRUSTED_S", 3600.0)
    with pytest.raises(MedialaneError) as caught:
        await backend(worker)
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
    assert await backend(worker) != killed


async def test_an_error_does_not_show_the_values_of_its_statement(worker):
    with pytest.raises(sa.exc.DBAPIError) as caught:
        async with worker.transaction() as connection:
            await connection.execute(sa.text("SELECT CAST(:name AS text) FROM nowhere"), {"name": "her-holiday.jpg"})
    assert "nowhere" in str(caught.value)
    assert "holiday" not in str(caught.value)


async def test_a_server_that_only_reads_is_away_and_its_connections_are_not_kept(postgres_stack):
    async def write(pool):
        async with pool.transaction() as connection:
            await connection.execute(sa.text("INSERT INTO partitions (topic, kpart) VALUES ('t', 0)"))

    with shared.fresh_database(postgres_stack) as own, psycopg.connect(own.owner, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {own.name} SET default_transaction_read_only = on")
        async with Database(DatabaseSettings(url=own.worker, pool_size=1), application="test") as pool:
            reading = await backend(pool)
            with pytest.raises(MedialaneError) as caught:
                await write(pool)
            assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE
            owner.execute(f"ALTER DATABASE {own.name} RESET default_transaction_read_only")
            await write(pool)
            assert await backend(pool) != reading


async def socket_options(pool):
    async with pool.transaction() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        with socket.socket(fileno=os.dup(driver.pgconn.socket)) as found:
            names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
            alive = found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            return alive, *(found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names)


async def test_a_host_that_is_gone_is_noticed_in_seconds_unless_the_address_says_else(worker, database):
    assert await socket_options(worker) == (1, 5, 3, 3, 15_000)
    settings = DatabaseSettings(url=f"{database.worker}&keepalives_idle=60&tcp_user_timeout=90000", pool_size=1)
    async with Database(settings, application="test") as pool:
        assert await socket_options(pool) == (1, 60, 3, 3, 90_000)


async def test_a_transaction_in_which_nothing_is_said_ends_and_lets_its_locks_go(worker):
    """As in a process that is frozen: within less than a lease, in the server; when it goes on, it meets the typed error."""
    with pytest.raises(MedialaneError) as caught:
        async with worker.transaction() as frozen:
            bound = await frozen.execute(sa.text("SHOW idle_in_transaction_session_timeout"))
            assert bound.scalar_one() == "5s"
            await frozen.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
            await frozen.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 1"))
            async with worker.transaction() as other:
                await other.execute(sa.text("SELECT pg_advisory_xact_lock(7)"))
            await frozen.execute(sa.text("SELECT 1"))
    assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE


async def test_the_connection_used_last_is_the_next_one(worker):
    pid = sa.text("SELECT pg_backend_pid()")
    async with worker.transaction() as first:
        first_pid = (await first.execute(pid)).scalar_one()
        async with worker.transaction() as second:
            second_pid = (await second.execute(pid)).scalar_one()
    assert first_pid != second_pid
    assert [await backend(worker) for _ in range(3)] == [first_pid] * 3


async def test_generic_plans_end_with_their_transaction(worker):
    tenant_id, mode = uuid7(), sa.text("SHOW plan_cache_mode")
    async with worker.tenant(tenant_id, generic_plans=True) as connection:
        assert (await connection.execute(mode)).scalar_one() == "force_generic_plan"
    async with worker.tenant(tenant_id) as connection:
        assert (await connection.execute(mode)).scalar_one() == "auto"


LIMITS = sa.text("""
    SELECT name, setting FROM pg_settings
    WHERE name IN ('statement_timeout', 'TimeZone', 'idle_in_transaction_session_timeout')
""")


@pytest.fixture
async def pooled(database):
    """As behind a pooler: whoever gets the one connection after a transaction is somebody else."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {database.name} SET timezone = 'America/Los_Angeles'")
        settings = DatabaseSettings(url=database.worker, pool_size=1, statement_timeout_s=7, pooled=True)
        async with Database(settings, application="test", idle_s=3) as pool:
            yield pool
        owner.execute(f"ALTER DATABASE {database.name} RESET timezone")


async def test_behind_a_pooler_the_limits_are_each_transactions_own(pooled):
    tenant_id = uuid7()
    for _ in range(2):
        async with pooled.engine.connect() as somebody:
            bounds = dict((await somebody.execute(LIMITS)).all())
            assert bounds.pop("TimeZone") == "America/Los_Angeles"
            assert set(bounds.values()) == {"0"}
        for begin in (pooled.transaction, lambda: pooled.tenant(tenant_id, generic_plans=True)):
            async with begin() as connection:
                assert dict((await connection.execute(LIMITS)).all()) == {
                    "TimeZone": "UTC", "statement_timeout": "7000", "idle_in_transaction_session_timeout": "3000",
                }  # fmt: skip
        async with pooled.tenant(tenant_id) as connection:
            assert (await connection.execute(sa.text("SELECT current_tenant()"))).scalar_one() == tenant_id
        with pytest.raises(MedialaneError) as caught:
            async with pooled.transaction() as connection:
                await connection.execute(sa.text("SET LOCAL statement_timeout = 1"))
                await connection.execute(sa.text("SELECT pg_sleep(600)"))
        assert caught.value.code is ErrorCode.DATABASE_UNAVAILABLE


async def prepared(pool):
    for number in range(20):  # psycopg prepares what it has run five times
        async with pool.tenant(uuid7()) as connection:
            await connection.execute(sa.text("SELECT 1 WHERE :n = 1"), [{"n": number}, {"n": 1}])
            await connection.execute(sa.text("SELECT CAST(:n AS int)"), {"n": number})
    async with pool.transaction() as connection:
        return (await connection.execute(sa.text("SELECT count(*) FROM pg_prepared_statements"))).scalar_one()


async def test_nothing_is_prepared_behind_a_pooler(pooled, database):
    assert await prepared(pooled) == 0
    async with Database(DatabaseSettings(url=database.worker, pool_size=1), application="test") as own:
        assert await prepared(own) > 0


@pytest.fixture
def unconfined(database):
    """The app role's grants, for a role that row-level security does not bind."""
    name, parts = f"past_{uuid7().hex}", sa.make_url(database.owner)
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {name} LOGIN BYPASSRLS PASSWORD 'p' IN ROLE medialane_app")
        yield parts.set(username=name, password="p").render_as_string(hide_password=False)
        owner.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("role", "given", "fits"),
    [
        ("worker", "worker", True), ("worker", "owner", True), ("worker", "app", False),
        ("app", "app", True), ("app", "worker", False), ("app", "owner", False), ("app", "unconfined", False),
    ],
)  # fmt: skip
async def test_a_role_that_is_not_who_it_has_to_be_is_refused(database, unconfined, role, given, fits):
    url = unconfined if given == "unconfined" else getattr(database, given)
    opened = Database(DatabaseSettings(url=url, pool_size=1), application="test", role=role)
    if fits:
        async with opened as pool, pool.transaction() as connection:
            assert (await connection.execute(sa.text("SELECT 1"))).scalar_one() == 1
    else:
        with pytest.raises(SettingsError, match=r"^MEDIALANE_DATABASE_URL: .*role"):
            async with opened:
                pytest.fail("it was let in")


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ("UPDATE alembic_version SET version_num = '0015'", False),
        ("REVOKE SELECT ON alembic_version FROM medialane_app, medialane_worker", False),
        ("UPDATE alembic_version SET version_num = '9999'", True),
    ],
)
async def test_a_release_does_not_begin_on_tables_that_it_does_not_know_yet(postgres_stack, change, fits):
    with shared.fresh_database(postgres_stack) as database:
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute(change)
        for role in ("app", "worker"):
            opened = Database(DatabaseSettings(url=getattr(database, role), pool_size=1), application="test", role=role)
            behind = f"this release needs {SCHEMA}: run `medialane migrate --phase expand`"
            with nullcontext() if fits else pytest.raises(SettingsError, match=behind):
                async with opened:
                    assert fits


async def test_a_database_that_is_away_at_first_is_asked_at_its_first_answer(database, monkeypatch):
    pool = Database(DatabaseSettings(url=database.app, pool_size=1), application="test", role="worker")

    def away(_):
        raise sa.exc.InterfaceError("", {}, OSError())

    with monkeypatch.context() as patched:
        patched.setattr(type(pool.engine), "begin", away)
        await pool.__aenter__()
    try:
        for _ in range(2):
            with pytest.raises(SettingsError):
                async with pool.transaction():
                    pytest.fail("it was let in")
    finally:
        await pool.close()


async def test_a_database_without_tables_says_nothing_of_roles(postgres_stack, database):
    with psycopg.connect(database.owner, autocommit=True) as owner:
        name = f"empty_{uuid7().hex}"
        owner.execute(f"CREATE DATABASE {name}")
        try:
            url = sa.make_url(database.app).set(database=name).render_as_string(hide_password=False)
            async with Database(DatabaseSettings(url=url), application="test", role="worker") as pool:
                await pool.check()
        finally:
            owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
