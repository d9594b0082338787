"""Reading an asset while its job ends: whoever sees the job ended sees what it made."""

import pytest

from connectors.postgres import finishing, jobs
from connectors.postgres.asset_views import read_asset
from connectors.postgres.content import join_content
from connectors.postgres.variants import NewVariant
from schemas.details import Facts
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
        job = await jobs.claim(connection, seeded.dispatch(), owner="w", lease_s=60)
        await join_content(connection, tenant_id=seeded.tenant_id, sha256=sha256, job_id=job.job_id, epoch=job.epoch)
    made = NewVariant(
        profile="thumbnail", profile_version=1, content_sha256=sha256, object_key="k", content_type="image/webp",
        format="webp", width=1, height=1, duration_s=None, size=1, sha256=sha256,
    )  # fmt: skip

    end = finishing.Finish(
        job=job, variants=(made,), sha256=sha256, facts=Facts(width=4, height=3), report={}, traceparent=None
    )

    async def ended():
        async with worker.transaction() as other:
            await finishing.finish(other, end)

    async with worker.transaction() as connection:
        view = await read_asset(Interrupted(connection, number, ended), seeded.tenant_id, seeded.asset_id)
    shown = [one.profile for one in view.variants]
    assert shown == ["thumbnail"] or [one.state for one in view.jobs] != ["done"]
    assert "variant.ready" not in {event.type for event in view.events} or shown
