"""A media worker whose jobs are claimed and finished in Postgres, but do nothing in between: lanes without media.

`python -m cli.bench.job_probe OPTIONS` with a stack's variables runs until its standard input is closed. It says
`ready` on standard output when it has its partitions.
"""

import asyncio
import hashlib
import os
import sys
import tempfile
from functools import partial

import msgspec
import uvloop
from prometheus_client import CollectorRegistry

from connectors.postgres.database import Database
from connectors.postgres.group_commit import across_tenants
from connectors.postgres.protocol import jobs
from connectors.postgres.protocol.finishing import Finish, finish_all
from connectors.postgres.protocol.jobs import ClaimedJob, Offered
from connectors.telemetry.metrics import Metrics
from schemas.details import Facts
from schemas.settings import DatabaseSettings, KafkaSettings, WorkerSettings, load
from schemas.states import MediaKind
from streams.media.handler import Payload
from streams.media.records import Offer
from streams.media.worker import MediaWorker

_POOL = 12
_FACTS = Facts(width=1, height=1)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs at once in the process and in a lane, how long one takes, and whether tenants are told apart."""

    slots: int
    running: int
    seconds: float = 0.0
    fair: bool = True


class Jobs:
    """Claims and finishes as a media worker does; a job sleeps."""

    def __init__(self, database: Database, options: Options, lease_s: float) -> None:
        self._claims = across_tenants(database, partial(jobs.claim_all, owner=f"bench/{os.getpid()}", lease_s=lease_s))
        self._ends = across_tenants(database, finish_all)
        self._seconds = options.seconds

    async def claim(self, payload: Payload) -> ClaimedJob | None:
        """Take the job, in a committed transaction."""
        if not isinstance(payload, Offer):
            return None
        found = await self._claims.submit(None, Offered(payload.dispatch))
        return found if isinstance(found, ClaimedJob) else None

    async def run(self, work: ClaimedJob) -> float:
        """Take the time that a job takes, then end it well, with its events."""
        if self._seconds:
            await asyncio.sleep(self._seconds)
        sha256 = hashlib.sha256(work.job_id.bytes).digest()
        end = Finish(job=work, sha256=sha256, facts=_FACTS, report={}, traceparent=work.traceparent)
        return (self._seconds or 0.001) if await self._ends.submit(None, end) else 0.0


async def main(options: Options) -> None:
    """Work until standard input ends."""
    kafka, database_settings = load(KafkaSettings, os.environ), load(DatabaseSettings, os.environ)
    with tempfile.TemporaryDirectory(prefix="medialane-bench-") as folder:
        settings = WorkerSettings(temp_dir=folder, lane_concurrency=options.running)
        pool = msgspec.structs.replace(database_settings, pool_size=_POOL, pool_timeout_s=60.0)
        async with Database(pool, application="bench-jobs") as database:
            worker = MediaWorker(
                Jobs(database, options, settings.lease_s), kafka, settings,
                Metrics(CollectorRegistry(), process="media-images"), kind=MediaKind.IMAGE,
                group=f"{kafka.topic_prefix}-media-images", slots=options.slots, fair=options.fair,
            )  # fmt: skip
            tasks = [asyncio.create_task(task()) for task in worker.tasks.values()]
            ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
            while not worker.member.joined:  # noqa: ASYNC110 - the group's answer
                await asyncio.sleep(0.05)
            os.write(1, b"ready\n")
            await asyncio.wait({ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            await worker.drain(5)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Options)))
