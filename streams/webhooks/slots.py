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
        self._half = max(1, total // 2)
        self._per_endpoint = per_endpoint
        self._held: Counter[UUID] = Counter()
        self._in_flight = 0
        self._sick: set[UUID] = set()
        self._sick_held = 0
        self._refused: set[UUID] = set()  # for their own limit, since `looked`
        self.freed = asyncio.Event()  # set whenever a slot comes back

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return self._in_flight

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self._total - self._in_flight

    @property
    def free_for_sick(self) -> int:
        """Slots that sick endpoints may still take."""
        return min(self.free, self._half - self._sick_held)

    def is_sick(self, endpoint: UUID) -> bool:
        """Whether the endpoint's last request got no answer."""
        return endpoint in self._sick

    def held_back(self, endpoint: UUID) -> bool:
        """Whether what waits for the endpoint waits for its own receiver: it is sick, or was refused a slot for its own
        limit since `looked`.
        """
        # Not what it holds now: some answer has always just come.
        return endpoint in self._sick or endpoint in self._refused

    def crowded_out(self, endpoint: UUID) -> bool:
        """Whether other sick endpoints alone keep this one, which is sick and holds none, from a slot.

        It is asked nothing meanwhile, and so cannot get well either.
        """
        return endpoint in self._sick and not self._held[endpoint] and self._sick_held >= self._half

    def looked(self) -> None:
        """Forget which endpoints were refused a slot; those that still are will be again."""
        self._refused.clear()

    def take(self, endpoint: UUID) -> bool:
        """Take a slot; False if the endpoint may have none now."""
        if self.free <= 0 or self._held[endpoint] >= self._limit(endpoint):
            if endpoint in self._sick or self._held[endpoint] >= self._per_endpoint:
                self._refused.add(endpoint)
            return False
        self._held[endpoint] += 1
        self._in_flight += 1
        self._sick_held += endpoint in self._sick
        return True

    def give_back(self, endpoint: UUID, *, answered: bool | None = None) -> None:
        """Return a slot; `answered` says whether the receiver did (None: nothing was sent)."""
        if self._held[endpoint] <= 0:
            raise RuntimeError("a slot was given back that nobody held")
        self._sick_held -= self._held[endpoint] if endpoint in self._sick else 0
        if answered is not None:
            (self._sick.discard if answered else self._sick.add)(endpoint)
        self._held[endpoint] -= 1
        self._sick_held += self._held[endpoint] if endpoint in self._sick else 0
        self._in_flight -= 1
        if not self._held[endpoint]:
            del self._held[endpoint]
        self.freed.set()

    def _limit(self, endpoint: UUID) -> int:
        if endpoint not in self._sick:
            return min(self._per_endpoint, max(1, self.free // 2))
        return 1 if self._sick_held < self._half else 0
