"""Rotating the outbox: it stands behind a long reader, and nobody who writes stands behind it."""

import asyncio

import psycopg
import pytest
import sqlalchemy as sa

from connectors.postgres import outbox_upkeep
from schemas.errors import MedialaneError

LAST = "SELECT name FROM outbox_partitions ORDER BY name DESC LIMIT 1"
WAITS = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass"
INSERT = sa.text("""
    INSERT INTO outbox (id, aggregatetype, aggregateid, kkey, type, payload)
    VALUES (gen_random_uuid(), 'events', 'a', 'k', 't', '{}')
""")


async def rotate(worker):
    async with worker.transaction() as connection:
        return await outbox_upkeep.rotate(connection, keep_s=86400, slot="none")


async def test_it_gives_way_to_a_long_reader_and_to_who_writes_meanwhile(worker, database):
    with psycopg.connect(database.owner, autocommit=True) as owner, psycopg.connect(database.owner) as reader:
        (last,) = owner.execute(LAST).fetchone()
        owner.execute(f"DROP TABLE {last}")
        owner.execute("DELETE FROM outbox_partitions WHERE name = %s", (last,))
        reader.execute("SELECT FROM outbox LIMIT 1")
        rotating = asyncio.create_task(rotate(worker))
        while not rotating.done() and not owner.execute(WAITS).fetchall():  # noqa: ASYNC110 - Postgres tells nobody
            await asyncio.sleep(0)
        async with worker.transaction() as connection:
            await connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            await connection.execute(INSERT)
        with pytest.raises(MedialaneError):
            await rotating
        reader.rollback()
        await rotate(worker)
        assert owner.execute(LAST).fetchone() == (last,)
