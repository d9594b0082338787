"""The job protocol as a small state machine: one asset's job, two workers, a Kafka that may lose and repeat records.

Written apart from the product: it states what the SQL must do, and `test_search` walks every interleaving of it. A
replay makes a new row in a new generation; records and workers of the old one stay around.
"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_GENERATION = 2
MAX_DISPATCH = 3
MAX_EPOCH = 3
MAX_DEATHS = 2
WORKERS = (0, 1)
TERMINAL = ("done", "failed", "cancelled")

Held = tuple[int, int]
"""The generation and the epoch that a worker believes to hold; epoch 0: it is idle."""

IDLE: Held = (0, 0)


class State(NamedTuple):
    """The present row, the records in Kafka, what the workers believe in, and what has taken effect.

    `ends` counts the ends of each generation, `late` is set by an end of one that is not the present. `owner` is the
    worker whose claim the row shows, as long as that process lives.
    """

    state: str = "queued"
    generation: int = 1
    dispatch: int = 1
    epoch: int = 0
    owner: int | None = None
    lease_valid: bool = False
    deaths: int = 0
    deleted: bool = False
    records: frozenset[tuple[int, int]] = frozenset({(1, 1)})
    workers: tuple[Held, Held] = (IDLE, IDLE)
    ends: tuple[int, ...] = (0,)
    late: bool = False

    def idle(self, worker: int) -> "State":
        return self.believing(worker, IDLE)

    def believing(self, worker: int, held: Held) -> "State":
        return self._replace(workers=(held, self.workers[1]) if worker == 0 else (self.workers[0], held))

    def ended(self, state: str) -> "State":
        return self._replace(state=state, owner=None, lease_valid=False, ends=(*self.ends[:-1], self.ends[-1] + 1))

    def queued(self) -> "State":
        """Under a new dispatch, with its record."""
        again = self.dispatch + 1
        records = self.records | {(self.generation, again)}
        return self._replace(state="queued", dispatch=again, owner=None, lease_valid=False, records=records)


def steps(now: State) -> Iterator[tuple[str, State]]:
    """Everything that may happen next."""
    yield from _kafka_and_claims(now)
    for worker in WORKERS:
        if now.workers[worker] != IDLE:
            yield from _work(now, worker)
    yield from _keeper(now)
    yield from _people(now)


def _kafka_and_claims(now: State) -> Iterator[tuple[str, State]]:
    for record in now.records:
        yield f"lose {record}", now._replace(records=now.records - {record})
        for worker in WORKERS:
            # The record stays in Kafka after a claim: it may be delivered again at any time.
            matches = record == (now.generation, now.dispatch)
            if now.workers[worker] != IDLE or not matches or now.epoch >= MAX_EPOCH:
                continue
            taken = now._replace(state="running", epoch=now.epoch + 1, owner=worker, lease_valid=True)
            if now.state == "queued":
                yield f"claim {worker}", taken.believing(worker, (taken.generation, taken.epoch))
                yield f"claim without an answer {worker}", taken
            if now.state == "running" and now.owner == worker:
                yield f"adopt {worker}", taken.believing(worker, (taken.generation, taken.epoch))


def _work(now: State, worker: int) -> Iterator[tuple[str, State]]:
    gone = now._replace(owner=None) if now.owner == worker else now  # it comes back under another name
    yield f"crash {worker}", gone.idle(worker)
    if now.state != "running" or (now.generation, now.epoch) != now.workers[worker]:
        yield f"fenced {worker}", now.idle(worker)
        return
    yield f"heartbeat {worker}", now._replace(lease_valid=True)
    yield f"finish {worker}", now.ended("done").idle(worker)
    yield f"permanent {worker}", now.ended("failed").idle(worker)
    yield f"transient {worker}", now._replace(state="waiting", owner=None, lease_valid=False).idle(worker)
    yield f"park as a twin {worker}", now._replace(state="waiting", owner=None, lease_valid=False).idle(worker)
    if now.dispatch < MAX_DISPATCH:
        yield f"drain {worker}", now.queued().idle(worker)


def _keeper(now: State) -> Iterator[tuple[str, State]]:
    if now.state == "running" and now.lease_valid:
        yield "expire", now._replace(lease_valid=False)
    if now.state == "queued":
        yield "unclaimed", now._replace(records=now.records | {(now.generation, now.dispatch)})
        # A breaker, or a lane that has too many of this tenant: the record in Kafka becomes stale.
        yield "held back", now._replace(state="waiting")
    if now.state == "running" and not now.lease_valid and now.deaths + 1 >= MAX_DEATHS:
        yield "worker_lost", now.ended("failed")._replace(epoch=now.epoch + 1, deaths=now.deaths + 1)
    if now.dispatch >= MAX_DISPATCH:
        return
    if now.state == "waiting":
        yield "due", now.queued()
    if now.state == "running" and not now.lease_valid and now.deaths + 1 < MAX_DEATHS:
        yield "expired", now.queued()._replace(deaths=now.deaths + 1)


def _people(now: State) -> Iterator[tuple[str, State]]:
    if now.state not in TERMINAL:
        stopped = now.ended("cancelled")._replace(epoch=now.epoch + 1)
        yield "cancel", stopped
        yield "delete", stopped._replace(deleted=True)
    elif not now.deleted:
        yield "delete", now._replace(deleted=True)
        if now.generation < MAX_GENERATION:
            yield "replay", reopened(now)


def reopened(now: State) -> State:
    """The row of the next generation, dispatched; whatever is known of the old one stays where it is."""
    generation = now.generation + 1
    return now._replace(
        state="queued", generation=generation, dispatch=1, epoch=0, owner=None, lease_valid=False, deaths=0,
        records=now.records | {(generation, 1)}, ends=(*now.ends, 0),
    )  # fmt: skip
