"""Jobs and a platform, in simulated time: the workers' own lanes, round robin, slots and books, and nothing else real.

What is simulated around them: credits in the rows, partitions that keep records until a lane has room, one assignment
of partitions to workers, and the time from a row to a lane (`Setup.transport_s`). Nothing crashes.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from schemas.states import JobClass
from streams.core.lane import Bounds, Lane, Signal
from streams.core.ledger import Ledger, Partition
from streams.core.queues import Item
from streams.core.roundrobin import DeficitRoundRobin, Shares
from streams.core.slots import Slots
from streams.simulation.credit import Credit

_TOPIC = "simulated"


class Job(NamedTuple):
    """A job to come: when it is made, for how long it holds a slot, what CPU it uses (seconds); `spread` decides the
    bucket, `kpart` is the partition where there is no placement to ask, `job_class` says to whom it yields.
    """

    tenant: str
    made_at: float
    held_s: float
    cpu_s: float
    spread: int = 0
    kpart: int = 0
    job_class: JobClass = JobClass.PRIMARY


class Setup(NamedTuple):
    """A platform. `credits` are dispatches per tenant at once; `slots` are jobs at once per worker."""

    partitions: int
    bounds: Bounds
    credits: Mapping[str, int]
    default_credits: int
    workers: int
    slots: int
    shares: Shares
    placements: Mapping[str, tuple[int, ...]] | None = None  # None: each job's own `kpart`
    transport_s: float = 0.0


class Run(NamedTuple):
    """What became of a job: times on the same clock as `Job.made_at`."""

    job: Job
    kpart: int
    started_at: float
    finished_at: float


class _Worker:
    """One process: lanes over its partitions, slots over its lanes; as `streams.lanes` has them."""

    def __init__(self, setup: Setup, partitions: Sequence[Partition]) -> None:
        self.slots: Slots[Partition] = Slots(setup.slots, lambda tenant: setup.shares.of(tenant).weight)
        self.ledger = Ledger()
        self.ledger.assign(partitions)
        self.lanes: dict[Partition, Lane[int]] = {
            key: Lane(DeficitRoundRobin[int](setup.shares), setup.bounds) for key in partitions
        }
        # Records that are in the partition and not fetched: a full lane does not read on.
        self.unread: dict[Partition, deque[tuple[str, int]]] = {key: deque() for key in partitions}
        self._offsets = dict.fromkeys(partitions, 0)

    def receive(self, key: Partition, tenant: str, job: int) -> None:
        self.unread[key].append((tenant, job))
        self.fetch(key)

    def fetch(self, key: Partition) -> None:
        lane, unread = self.lanes[key], self.unread[key]
        while unread and not lane.full:
            self._offsets[key] += 1
            entry = self.ledger.open(key, self._offsets[key])
            if entry is None:
                raise RuntimeError(f"{key} is not this worker's")
            lane.put(Item(entry, *unread.popleft()))
            lane.signal(self.ledger.gap(key))

    def start(self) -> Item[int] | None:
        """Start the next job that may start; None if none may."""
        key = self.slots.deal((key, lane.turn) for key, lane in self.lanes.items() if lane.ready)
        if key is None:
            return None
        item = self.lanes[key].take()
        self.ledger.settle(item.entry)
        self._signal(key)
        return item

    def finish(self, key: Partition, tenant: str, cost: float) -> None:
        self.lanes[key].finish(tenant, cost)
        self.slots.give_back(key, tenant)
        self._signal(key)

    def _signal(self, key: Partition) -> None:
        if self.lanes[key].signal(self.ledger.gap(key)) is Signal.ROOM:
            self.fetch(key)


class Simulation:
    """Runs jobs on a setup. Made for one run."""

    def __init__(self, jobs: Sequence[Job], setup: Setup) -> None:
        self._jobs = sorted(jobs, key=lambda job: job.made_at)
        self._setup = setup
        keys = [Partition(_TOPIC, number) for number in range(setup.partitions)]
        self._workers = [_Worker(setup, keys[first :: setup.workers]) for first in range(setup.workers)]
        self._credits: dict[str, Credit] = {}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._started: dict[int, tuple[float, int]] = {}
        self._runs: list[Run] = []

    def run(self) -> list[Run]:
        """Every job's run, in the order of their ends."""
        for number, job in enumerate(self._jobs):
            self._at(job.made_at, lambda now, number=number: self._made(number, now))  # type: ignore[misc]
        while self._events:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        if len(self._runs) != len(self._jobs):
            raise RuntimeError(f"{len(self._jobs) - len(self._runs)} jobs were never started")
        return self._runs

    def _at(self, when: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _made(self, number: int, now: float) -> None:
        job = self._jobs[number]
        credit = self._credits.get(job.tenant)
        if credit is None:
            bound = self._setup.credits.get(job.tenant, self._setup.default_credits)
            credit = self._credits[job.tenant] = Credit(bound)
        if credit.make(number, job.job_class, now):
            self._dispatch(number, now)
        elif (turn := credit.turn(job.job_class, now)) > now:
            self._at(turn, lambda then: self._let_in(credit, then))

    def _let_in(self, credit: Credit, now: float) -> None:
        while (number := credit.next(now)) is not None:
            self._dispatch(number, now)

    def _dispatch(self, number: int, now: float) -> None:
        self._at(now + self._setup.transport_s, lambda then: self._arrive(number, then))

    def _arrive(self, number: int, now: float) -> None:
        job = self._jobs[number]
        key = Partition(_TOPIC, self._kpart(job))
        worker = self._workers[key.partition % self._setup.workers]
        worker.receive(key, job.tenant, number)
        self._deal(worker, now)

    def _deal(self, worker: _Worker, now: float) -> None:
        while (item := worker.start()) is not None:
            number, key = item.payload, item.entry.partition
            self._started[number] = now, key.partition
            self._at(now + self._jobs[number].held_s, lambda then, n=number, k=key: self._over(worker, n, k, then))  # type: ignore[misc]

    def _over(self, worker: _Worker, number: int, key: Partition, now: float) -> None:
        job = self._jobs[number]
        started_at, kpart = self._started.pop(number)
        self._runs.append(Run(job, kpart, started_at, now))
        credit = self._credits[job.tenant]
        credit.leave(job.job_class)
        self._let_in(credit, now)
        # As in a worker: what a child did not tell, its slot's time stands for.
        worker.finish(key, job.tenant, job.cpu_s or job.held_s)
        self._deal(worker, now)

    def _kpart(self, job: Job) -> int:
        if self._setup.placements is None:
            return job.kpart
        kparts = self._setup.placements[job.tenant]
        return kparts[job.spread % len(kparts)]
