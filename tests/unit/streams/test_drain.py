"""Drains: what the wait for outcomes took is part of what the whole may take."""

import asyncio

from prometheus_client import CollectorRegistry

from connectors.telemetry.metrics import Metrics
from schemas.settings import KafkaSettings, WorkerSettings
from schemas.states import MediaKind
from streams.core.ledger import Partition
from streams.crew import Drained
from streams.media.worker import MediaWorker
from streams.webhooks.app import drained

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


class Slow:
    """An intake whose dead letters are slow to be written, and the member and the agent that end after it."""

    def __init__(self):
        self.given = []

    async def close(self):
        await asyncio.sleep(0.25)

    async def leave(self, timeout_s):
        self.given.append(timeout_s)

    async def stop(self, timeout_s):
        self.given.append(timeout_s)


async def test_what_the_last_outcomes_took_is_not_there_for_requests_or_the_leave_any_more():
    slow = Slow()
    await drained(slow, slow, slow, 0.3)
    assert len(slow.given) == 2
    assert max(slow.given) < 0.1
