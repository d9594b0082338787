"""How many requests are open at once: in all, per tenant, per endpoint, and to endpoints that do not answer soon.

A receiver that hangs holds a slot for the whole timeout, so nobody may hold so many that others find none. A tenant
makes endpoints as it likes: only what they hold together bounds what it does to others.
"""

import asyncio
from collections import Counter
from uuid import UUID


class Slots:
    """The process's requests in flight.

    A tenant's endpoints together get at most half of what the other tenants leave, or three quarters while nobody else
    holds any. An eighth of the process, and at least one slot, is only for tenants that hold none: such a tenant is
    refused one only while as many others hold some, however many endpoints those have.

    An endpoint gets at most `per_endpoint`, and never more than half of what is free at that moment. One whose last
    request got no answer, or late, is sick: it gets one slot at a time, all sick ones together at most half of the
    process, and a tenant's at most half of its own share and of what other tenants' sick ones leave of that.
    """

    def __init__(self, total: int, per_endpoint: int) -> None:
        self._total = total
        self._half = max(1, total // 2)
        self._kept = max(1, total // 8)
        self._per_endpoint = per_endpoint
        self._tenants: dict[UUID, UUID] = {}  # of endpoints that hold a slot
        self._held: Counter[UUID] = Counter()
        self._held_by: Counter[UUID] = Counter()  # by tenant
        self._in_flight = 0
        self._sick: set[UUID] = set()
        self._sick_held = 0
        self._sick_held_by: Counter[UUID] = Counter()
        self._refused: set[UUID] = set()  # endpoints and tenants, for their own limit, since `looked`
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
        """Whether the endpoint's last request got no answer, or late."""
        return endpoint in self._sick

    def held_back(self, endpoint: UUID, tenant: UUID) -> bool:
        """Whether what waits for the endpoint waits for its tenant's own receivers: it is sick, or was refused a slot
        for its own limit or its tenant's since `looked`.
        """
        # Not what it holds now: some answer has always just come.
        return endpoint in self._sick or endpoint in self._refused or tenant in self._refused

    def crowded_out(self, endpoint: UUID) -> bool:
        """Whether other sick endpoints alone keep this one, which is sick and holds none, from a slot.

        It is asked nothing meanwhile, and so cannot get well either.
        """
        return endpoint in self._sick and not self._held[endpoint] and self._sick_held >= self._half

    def looked(self) -> None:
        """Forget who was refused a slot; those that still are will be again."""
        self._refused.clear()

    def has_room(self, tenant: UUID, *, sick: bool = False) -> bool:
        """Whether the tenant holds less than it may; `sick`: also for an endpoint that is."""
        held = self._held_by[tenant]
        left = self.free + held  # by the other tenants
        alone = held == self._in_flight
        share = left * 3 // 4 if alone else left // 2
        most = max(1, min(share, left - self._kept))
        if held >= most:
            if not alone and share <= left - self._kept:  # its own limit, and not that the process is too small
                self._refused.add(tenant)
            return False
        if not sick:
            return True
        sick_left = self._half - self._sick_held + self._sick_held_by[tenant]
        return self.free_for_sick > 0 and self._sick_held_by[tenant] < max(1, min(most, sick_left) // 2)

    def take(self, endpoint: UUID, tenant: UUID) -> bool:
        """Take a slot; False if the endpoint may have none now."""
        sick = endpoint in self._sick
        limit = 1 if sick else min(self._per_endpoint, max(1, self.free // 2))
        if self.free <= 0 or self._held[endpoint] >= limit or not self.has_room(tenant, sick=sick):
            if sick or self._held[endpoint] >= self._per_endpoint:
                self._refused.add(endpoint)
            return False
        self._tenants[endpoint] = tenant
        self._held[endpoint] += 1
        self._held_by[tenant] += 1
        self._in_flight += 1
        self._count_sick(endpoint, 1)
        return True

    def learn(self, endpoint: UUID, *, answered: bool) -> None:
        """The receiver of an endpoint that holds a slot answered soon, or did not."""
        self._count_sick(endpoint, -self._held[endpoint])
        (self._sick.discard if answered else self._sick.add)(endpoint)
        self._count_sick(endpoint, self._held[endpoint])

    def give_back(self, endpoint: UUID) -> None:
        """Return a slot."""
        if self._held[endpoint] <= 0:
            raise RuntimeError("a slot was given back that nobody held")
        self._count_sick(endpoint, -1)
        _add(self._held_by, self._tenants[endpoint], -1)
        _add(self._held, endpoint, -1)
        self._in_flight -= 1
        if not self._held[endpoint]:
            del self._tenants[endpoint]
        self.freed.set()

    def _count_sick(self, endpoint: UUID, change: int) -> None:
        if endpoint in self._sick and change:
            self._sick_held += change
            _add(self._sick_held_by, self._tenants[endpoint], change)


def _add(counts: Counter[UUID], key: UUID, by: int) -> None:
    counts[key] += by
    if not counts[key]:
        del counts[key]
