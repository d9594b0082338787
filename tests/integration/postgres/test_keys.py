"""Keys as rows: what two who rotate one at once come to, each on a connection of its own."""

import asyncio

import pytest
from support.locks import until_waited_for

from connectors.postgres.accounts.keys import mint_key, rotate_key
from schemas.errors import ErrorCode, MedialaneError
from schemas.scopes import Scope


async def test_of_two_who_rotate_a_key_at_once_one_makes_a_key(worker, seed):
    tenant = await seed.tenant(worker)
    async with worker.transaction() as connection:
        old = await mint_key(connection, tenant, scopes=(Scope.ADMIN,))

    async def rotate(connection):
        return await rotate_key(connection, tenant, old.id, overlap_s=60, expires_at=None)

    async def second():
        async with worker.transaction() as connection:
            await rotate(connection)

    async with worker.transaction() as first:
        assert await rotate(first)
        waiting = asyncio.create_task(second())
        await until_waited_for(first, worker, waiting)
    with pytest.raises(MedialaneError) as caught:
        await waiting
    assert caught.value.code is ErrorCode.CONFLICT
    assert len(await seed.column(worker, "SELECT id FROM api_keys WHERE replaces = :old", old=old.id)) == 1
