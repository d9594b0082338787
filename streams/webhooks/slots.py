"""How many requests are open at once: in all, per endpoint, and to endpoints that do not answer.

A receiver that hangs holds a slot for the whole timeout, so nobody may hold so many that others find none.
"""

import asyncio
from collections import Counter
from uuid import UUID


class Slots:
    """The process's requests in flight.

    An endpoint gets at most `per_endpoint`, and never more than half of what is free at that moment, so any number of
    greedy endpoints leaves room. An endpoint whose last request got no answer is sick: it gets one slot at a time, and
    all sick ones together at most half of the process.
    """

    def __init__(self, total: int, per_endpoint: int) -> None:
        self._total = total
        self._per_endpoint = per_endpoint
        self._held: Counter[UUID] = Counter()
        self._in_flight = 0
        self._sick: set[UUID] = set()
        self._sick_held = 0
        self.freed = asyncio.Event()  # set whenever a slot comes back

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return self._in_flight

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self._total - self._in_flight

    def room(self, endpoint: UUID) -> int:
        """How many slots the endpoint could take now, one after the other."""
        count, held, free = 0, self._held[endpoint], self.free
        sick = endpoint in self._sick
        while free > 0 and held < self._limit(free, sick=sick, sick_held=self._sick_held + (count if sick else 0)):
            count, held, free = count + 1, held + 1, free - 1
        return count

    def take(self, endpoint: UUID) -> bool:
        """Take a slot; False if the endpoint may have none now."""
        sick = endpoint in self._sick
        if self.free <= 0 or self._held[endpoint] >= self._limit(self.free, sick=sick, sick_held=self._sick_held):
            return False
        self._held[endpoint] += 1
        self._in_flight += 1
        self._sick_held += sick
        return True

    def give_back(self, endpoint: UUID, *, answered: bool | None = None) -> None:
        """Return a slot; `answered` says whether the receiver did (None: nothing was sent)."""
        if self._held[endpoint] <= 0:
            raise RuntimeError("a slot was given back that nobody held")
        if answered is not None:
            self._judge(endpoint, sick=not answered)
        self._held[endpoint] -= 1
        self._in_flight -= 1
        self._sick_held -= endpoint in self._sick
        if not self._held[endpoint]:
            del self._held[endpoint]
        self.freed.set()

    def _limit(self, free: int, *, sick: bool, sick_held: int) -> int:
        if sick:
            return 1 if sick_held < max(1, self._total // 2) else 0
        return min(self._per_endpoint, max(1, free // 2))

    def _judge(self, endpoint: UUID, *, sick: bool) -> None:
        if sick and endpoint not in self._sick:
            self._sick.add(endpoint)
            self._sick_held += self._held[endpoint]
        elif not sick and endpoint in self._sick:
            self._sick.remove(endpoint)
            self._sick_held -= self._held[endpoint]
