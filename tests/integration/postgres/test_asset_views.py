"""Reading an asset while its job ends: whoever sees the job ended sees what it made."""

import pytest
from support import protocol

from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.assets.views import read_asset
from schemas.ids import uuid7


class Interrupted:
    """A connection on which something happens before its nth statement."""

    def __init__(self, connection, number, happens):
        self._connection, self._left, self._happens = connection, number, happens

    async def execute(self, *statement):
        if self._left == 0:
            await self._happens()
        self._left -= 1
        return await self._connection.execute(*statement)


@pytest.mark.parametrize("number", range(5))
async def test_a_job_that_is_seen_ended_has_its_variants(worker, seed, seeded, number):
    sha256 = uuid7().bytes * 2
    async with worker.transaction() as connection:
        job = await protocol.claim(connection, seeded.dispatch())
        await protocol.join(connection, job, sha256)
    made = NewVariant(
        profile="thumbnail", profile_version=1, content_sha256=sha256, object_key="k", content_type="image/webp",
        format="webp", width=1, height=1, duration_s=None, size=1, sha256=sha256,
    )  # fmt: skip

    async def ended():
        async with worker.transaction() as other:
            await protocol.finish(other, job, sha256, variants=[made])

    async with worker.transaction() as connection:
        view = await read_asset(Interrupted(connection, number, ended), seeded.tenant_id, seeded.asset_id)
    shown = [one.profile for one in view.variants]
    assert shown == ["thumbnail"] or [one.state for one in view.jobs] != ["done"]
    assert "variant.ready" not in {event.type for event in view.events} or shown
