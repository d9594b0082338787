"""One media job in a process of its own, as a worker does it, for tests that kill it: `python -m support.one_job JSON`.

With `die_after`, the process kills itself as soon as the store has taken an object whose key ends so: the object is
there, and no row names it. `refused` is how many puts fail first as if the store were away, and with `lose_answer` the
first commit that makes a variant known is not answered.
"""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from connectors.telemetry.tracing import Tracing
from processors.pool import MediaPool
from processors.temp import TempFolders
from schemas.errors import ErrorCode, MedialaneError
from schemas.records import Dispatch
from schemas.settings import DatabaseSettings, ObjectStoreSettings, ProcessorSettings, WorkerSettings
from streams.media.execution import MediaJobRunner
from streams.media.gate import StoreGate
from streams.media.leases import Leases


class Orders(msgspec.Struct):
    """What to do."""

    database: str
    store: ObjectStoreSettings
    dispatch: Dispatch
    temp_dir: str
    die_after: str | None = None
    refused: int = 0
    lose_answer: bool = False


class TroubledStore(S3ObjectStore):
    """The real store, which is away at first, or whose user does not live to hear of one object."""

    def __init__(self, settings, deadly, refused):
        super().__init__(settings)
        self._deadly = deadly
        self._refused = refused

    async def put_file(self, key, path, content_type, sha256_hex, **more):
        if self._refused:
            self._refused -= 1
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)
        stored = await super().put_file(key, path, content_type, sha256_hex, **more)
        if self._deadly and key.endswith(self._deadly):
            os.kill(os.getpid(), signal.SIGKILL)
        return stored


class ForgetfulDatabase(Database):
    """The real database, whose answer to one commit of an asset's variants is lost."""

    def __init__(self, settings, asset_id):
        super().__init__(settings, application="one-job")
        self._asset_id = asset_id

    @asynccontextmanager
    async def transaction(self):
        async with super().transaction() as connection:
            yield connection
            known = sa.text("SELECT count(*) FROM variants WHERE asset_id = :asset_id")
            lost = (await connection.execute(known, {"asset_id": self._asset_id})).scalar_one()
        if lost:
            self._asset_id = None
            raise MedialaneError(ErrorCode.DATABASE_UNAVAILABLE)


async def main(orders):
    """Claim and run; fails if there is nothing to claim."""
    metrics = Metrics(CollectorRegistry(), process="media-video")
    tracing = Tracing("one-job", otlp_endpoint=None, exporter=None)
    folders = TempFolders(Path(orders.temp_dir))
    pool = MediaPool(ProcessorSettings(), workers=1, folder=folders.folder)
    pool.start()
    async with (
        ForgetfulDatabase(
            DatabaseSettings(url=orders.database), orders.dispatch.asset_id if orders.lose_answer else None
        ) as database,
        TroubledStore(orders.store, orders.die_after, orders.refused) as store,
    ):
        leases = Leases(database, lease_s=10, heartbeat_s=3)
        runner = MediaJobRunner(
            database=database, store=store, pool=pool, leases=leases, settings=WorkerSettings(), owner="one-job",
            folders=folders, tracing=tracing, metrics=metrics, gate=StoreGate(store, metrics),
        )  # fmt: skip
        beating = asyncio.create_task(leases.run())
        job = await runner.claim(orders.dispatch, None)
        assert job is not None, "nothing to claim"
        await runner.run(job)
        beating.cancel()
    await pool.close(0)
    folders.close()


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Orders)))
