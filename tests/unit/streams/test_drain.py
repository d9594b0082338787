"""A media worker's drain: the wait for claims is part of what it may take."""

import asyncio

from prometheus_client import CollectorRegistry

from connectors.telemetry.metrics import Metrics
from schemas.settings import KafkaSettings, WorkerSettings
from schemas.states import MediaKind
from streams.core.ledger import Partition
from streams.crew import Drained
from streams.media.worker import MediaWorker

HERE = Partition("media.jobs.image", 0)


class Silent:
    """A claim that is never answered: a database that has gone silent."""

    async def claim(self, payload):
        await asyncio.Event().wait()


async def test_what_the_wait_for_claims_took_is_not_there_for_jobs_or_the_leave_any_more(tmp_path, monkeypatch):
    settings, metrics = WorkerSettings(temp_dir=str(tmp_path)), Metrics(CollectorRegistry(), process="media-images")
    worker = MediaWorker(
        Silent(), KafkaSettings(brokers="127.0.0.1:1"), settings, metrics, kind=MediaKind.IMAGE, group="g", slots=2
    )
    given = []

    async def drain(timeout_s):
        given.append(timeout_s)
        return Drained((), (), ())

    async def leave(timeout_s=10.0):
        given.append(timeout_s)

    monkeypatch.setattr(worker.lanes, "drain", drain)
    monkeypatch.setattr(worker.member, "leave", leave)
    worker.lanes.assign([HERE])
    worker.lanes.put(HERE, 0, "t", "payload")
    await worker.drain(0.3)
    assert len(given) == 2
    assert max(given) < 0.1, "claims had all of it"
