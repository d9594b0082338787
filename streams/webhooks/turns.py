"""Whose turn it is to be sent something: tenants in turn, and of each its endpoints in turn."""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from uuid import UUID

from streams.webhooks.slots import Slots


class Turns:
    """Endpoints with due work. A tenant's turn does not come more often for its having many of them."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._tenants: dict[UUID, UUID] = {}  # by endpoint
        self._endpoints: dict[UUID, OrderedDict[UUID, None]] = {}  # by tenant; the next in turn first
        self._order: OrderedDict[UUID, None] = OrderedDict()  # of those tenants
        # Endpoints that other sick ones crowd out stand apart, before all others: there may be thousands, and every
        # slot that comes back asks anew. Their tenants have turns of their own for it.
        self._crowded_out: OrderedDict[UUID, deque[UUID]] = OrderedDict()

    def add(self, endpoint: UUID, tenant: UUID) -> None:
        """The endpoint, which is not here yet, comes last."""
        self._tenants[endpoint] = tenant
        self._queue(endpoint, tenant)

    def remove(self, endpoint: UUID) -> None:
        """The endpoint, which the last `take` named, has no more work."""
        self._unqueue([endpoint], self._tenants.pop(endpoint))

    def take(self) -> Counter[UUID]:
        """Reserve slots: one for each tenant in turn, round after round, as long as there are any. By endpoint."""
        taken: Counter[UUID] = Counter()
        self._take_crowded_out(taken)
        tenants = self._first_round(taken)
        for tenant in tenants:
            self._order[tenant] = None
        while tenants and self._slots.free > 0:
            tenants = [tenant for tenant in tenants if self._grant(tenant, taken)]
        return taken

    def _take_crowded_out(self, taken: Counter[UUID]) -> None:
        refused: list[tuple[UUID, deque[UUID]]] = []
        while self._crowded_out and self._slots.free_for_sick > 0:
            tenant, endpoints = self._crowded_out.popitem(last=False)
            if not self._slots.take(endpoints[0], tenant):
                refused.append((tenant, endpoints))
                continue
            taken[endpoints[0]] += 1
            self._queue(endpoints.popleft(), tenant)
            if endpoints:
                self._crowded_out[tenant] = endpoints
        for tenant, endpoints in reversed(refused):
            self._crowded_out[tenant] = endpoints
            self._crowded_out.move_to_end(tenant, last=False)

    def _first_round(self, taken: Counter[UUID]) -> list[UUID]:
        """The tenants that got a slot; they leave the order. Walks over no more of them than there are slots, and those
        newly crowded out: who holds no slot is refused none.
        """
        got, refused = [], []
        while self._order and self._slots.free > 0:
            tenant, _ = self._order.popitem(last=False)
            if self._grant(tenant, taken):
                got.append(tenant)
            elif tenant in self._endpoints:
                refused.append(tenant)
        for tenant in reversed(refused):
            self._order[tenant] = None
            self._order.move_to_end(tenant, last=False)
        return got

    def _grant(self, tenant: UUID, taken: Counter[UUID]) -> bool:
        """Take a slot for the next of the tenant's endpoints that may have one; False if none may."""
        if not self._slots.has_room(tenant):
            return False
        found, out = None, []
        sick_too = self._slots.has_room(tenant, sick=True)
        for endpoint in self._endpoints[tenant]:
            if self._slots.crowded_out(endpoint):
                out.append(endpoint)
            elif (sick_too or not self._slots.is_sick(endpoint)) and self._slots.take(endpoint, tenant):
                found = endpoint
                break
        if out:
            self._unqueue(out, tenant)
            self._crowded_out.setdefault(tenant, deque()).extend(out)
        if found is None:
            return False
        self._endpoints[tenant].move_to_end(found)
        taken[found] += 1
        return True

    def _queue(self, endpoint: UUID, tenant: UUID) -> None:
        self._endpoints.setdefault(tenant, OrderedDict())[endpoint] = None
        self._order.setdefault(tenant, None)

    def _unqueue(self, endpoints: Iterable[UUID], tenant: UUID) -> None:
        for endpoint in endpoints:
            del self._endpoints[tenant][endpoint]
        if not self._endpoints[tenant]:
            del self._endpoints[tenant]
            self._order.pop(tenant, None)
