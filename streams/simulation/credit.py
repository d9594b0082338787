"""A tenant's credit in simulated time: the rules of `connectors.postgres.protocol.credits`, by its own numbers."""

from collections import Counter, deque

from connectors.postgres.protocol.credits import AGEING_S, SHARE
from schemas.states import JobClass


class Credit:
    """What one tenant has dispatched, and what waits. What the keeper mends within a second is mended at once."""

    def __init__(self, credits_: int) -> None:
        self._credits = credits_
        self._taken: Counter[JobClass] = Counter()
        # Turns and jobs, by class. Of one class they are made in the order of their turns.
        self._waiting: dict[JobClass, deque[tuple[float, int]]] = {kind: deque() for kind in JobClass}

    def make(self, job: int, kind: JobClass, now: float) -> bool:
        """Whether a new job is dispatched; else it waits: ask `next` when one leaves, and when its `turn` has come."""
        if self._taken.total() < self._part(kind):
            self._taken[kind] += 1
            return True
        self._waiting[kind].append((self.turn(kind, now), job))
        return False

    @staticmethod
    def turn(kind: JobClass, made_at: float) -> float:
        """From when on a job's class's part of the credit is its own."""
        return made_at + AGEING_S[kind]

    def leave(self, kind: JobClass) -> None:
        """A job that was dispatched is over."""
        self._taken[kind] -= 1

    def next(self, now: float) -> int | None:
        """Dispatch the waiting job that goes now; None if none may."""
        going = [(waiting[0], kind) for kind, waiting in self._waiting.items() if waiting and self._may_go(kind, now)]
        if not going:
            return None
        (_, job), kind = min(going, key=lambda one: one[0])
        self._waiting[kind].popleft()
        self._taken[kind] += 1
        return job

    def _part(self, kind: JobClass) -> int:
        return max(1, self._credits // SHARE[kind])

    def _may_go(self, kind: JobClass, now: float) -> bool:
        total = self._taken.total()
        ripe = self._waiting[kind][0][0] <= now
        return total < self._credits and (self._taken[kind] if ripe else total) < self._part(kind)
