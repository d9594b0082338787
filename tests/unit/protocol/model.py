"""The job protocol as a small state machine: one job, two workers, and a Kafka that may lose and repeat records.

Written apart from the product: it states what the SQL must do, and `test_search` walks every interleaving of it.
"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_DISPATCH = 4
MAX_EPOCH = 4
MAX_DEATHS = 3
WORKERS = (0, 1)
TERMINAL = ("done", "failed", "cancelled")


class State(NamedTuple):
    """The row, the records in Kafka, the epochs that the workers believe in (0: idle), and what has taken effect."""

    state: str = "queued"
    dispatch: int = 1
    epoch: int = 0
    lease_valid: bool = False
    deaths: int = 0
    records: frozenset[int] = frozenset({1})
    workers: tuple[int, int] = (0, 0)
    effects: int = 0

    def idle(self, worker: int) -> "State":
        return self.believing(worker, 0)

    def believing(self, worker: int, epoch: int) -> "State":
        return self._replace(workers=(epoch, self.workers[1]) if worker == 0 else (self.workers[0], epoch))


def steps(now: State) -> Iterator[tuple[str, State]]:
    """Everything that may happen next."""
    yield from _kafka_and_claims(now)
    for worker in WORKERS:
        if now.workers[worker]:
            yield from _work(now, worker)
    yield from _keeper(now)
    if now.state not in TERMINAL and now.epoch < MAX_EPOCH:
        yield "cancel", now._replace(state="cancelled", epoch=now.epoch + 1, lease_valid=False)


def _kafka_and_claims(now: State) -> Iterator[tuple[str, State]]:
    for record in now.records:
        yield f"lose {record}", now._replace(records=now.records - {record})
        for worker in WORKERS:
            # The record stays in Kafka after a claim: it may be delivered again at any time.
            if not now.workers[worker] and now.state == "queued" and record == now.dispatch and now.epoch < MAX_EPOCH:
                taken = now._replace(state="running", epoch=now.epoch + 1, lease_valid=True)
                yield f"claim {worker}", taken.believing(worker, taken.epoch)


def _work(now: State, worker: int) -> Iterator[tuple[str, State]]:
    yield f"crash {worker}", now.idle(worker)
    if now.state != "running" or now.epoch != now.workers[worker]:
        yield f"fenced {worker}", now.idle(worker)
        return
    yield f"heartbeat {worker}", now._replace(lease_valid=True)
    ended = now._replace(lease_valid=False).idle(worker)
    yield f"finish {worker}", ended._replace(state="done", effects=now.effects + 1)
    yield f"permanent {worker}", ended._replace(state="failed", effects=now.effects + 1)
    yield f"transient {worker}", ended._replace(state="waiting")
    if now.dispatch < MAX_DISPATCH:
        again = now.dispatch + 1
        yield f"drain {worker}", ended._replace(state="queued", dispatch=again, records=now.records | {again})


def _keeper(now: State) -> Iterator[tuple[str, State]]:
    if now.state == "running" and now.lease_valid:
        yield "expire", now._replace(lease_valid=False)
    if now.state == "queued":
        yield "unclaimed", now._replace(records=now.records | {now.dispatch})
    if now.state == "running" and not now.lease_valid and now.deaths + 1 >= MAX_DEATHS:
        yield (
            "worker_lost",
            now._replace(state="failed", epoch=now.epoch + 1, deaths=now.deaths + 1, effects=now.effects + 1),
        )
    if now.dispatch >= MAX_DISPATCH:
        return
    again = now.dispatch + 1
    queued = now._replace(state="queued", dispatch=again, records=now.records | {again})
    if now.state == "waiting":
        yield "due", queued
    if now.state == "running" and not now.lease_valid and now.deaths + 1 < MAX_DEATHS:
        yield "expired", queued._replace(deaths=now.deaths + 1)
