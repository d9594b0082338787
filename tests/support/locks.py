"""Waiting until another session waits for a lock: only then does what a test does next meet it there."""

import asyncio

import sqlalchemy as sa

_BLOCKED = sa.text("SELECT pid FROM pg_stat_activity WHERE :pid = ANY(pg_blocking_pids(pid))")


async def waiting_for(database, pid):
    """Who waits for a session's locks. A transaction per look: within one, the view does not change."""
    async with database.transaction() as connection:
        return (await connection.execute(_BLOCKED, {"pid": pid})).scalars().all()


async def until_waited_for(connection, database, task):
    """Until somebody waits for what this transaction holds; `task`, which is to, must not be over before."""
    await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    pid = (await connection.execute(sa.text("SELECT pg_backend_pid()"))).scalar_one()
    async with asyncio.timeout(90):
        while not await waiting_for(database, pid):
            assert not task.done()
            await asyncio.sleep(0.01)
