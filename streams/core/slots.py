"""Slots: how many jobs a process runs at once, dealt fairly over its lanes and over the tenants in them."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

PATIENCE = 8
"""A lane that was passed over this many times for each lane that is ready goes first."""

K = TypeVar("K", bound=Hashable)
H = TypeVar("H", bound=Hashable)


class Slots(Generic[K]):
    """A fixed number of slots. The next one goes to the lane whose next tenant holds fewest for its weight, in all
    lanes together; among equals, to the lane that has waited longest since it was last served. So a tenant that is in
    many lanes gets no more than one that is in one, and a lane of short jobs is never starved by lanes of long ones.

    Whose turn it is in a lane may hold a slot for hours while others come that hold none: so that it and all behind it
    do not wait for that job's end, a lane that was passed over for long (`PATIENCE`) goes first, once.
    """

    def __init__(self, total: int, weight: Callable[[str], float] = lambda _tenant: 1.0) -> None:
        if total < 1:
            raise ValueError(f"a process needs at least one slot, not {total}")
        self._total = total
        self._weight = weight
        self._taken = 0
        self._held: dict[tuple[K, str], int] = {}
        self._by_tenant: dict[str, int] = {}
        self._served: dict[K, int] = {}
        self._passed_over: dict[K, int] = {}  # lanes that were ready and not chosen, how many times in a row
        self._turn = 0

    @property
    def total(self) -> int:
        """How many slots there are."""
        return self._total

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return self._total - self._taken

    def deal(self, ready: Iterable[tuple[K, str]]) -> K | None:
        """Give a free slot to one of the lanes that could use it, each with whose turn it is there; None if there is no
        slot or no lane.
        """
        if self._taken >= self._total:
            return None
        candidates = list(ready)
        if not candidates:
            return None
        patience = PATIENCE * len(candidates)
        chosen = min(candidates, key=lambda one: self._rank(one, patience))
        lane, tenant = chosen
        self._passed_over = {key: self._passed_over.get(key, 0) + 1 for key, _ in candidates if key != lane}
        self._turn += 1
        self._taken += 1
        self._held[chosen] = self._held.get(chosen, 0) + 1
        self._by_tenant[tenant] = self._by_tenant.get(tenant, 0) + 1
        self._served[lane] = self._turn
        return lane

    def give_back(self, lane: K, tenant: str) -> None:
        """A slot that was dealt for this tenant's turn in this lane is free again."""
        if self._held.get((lane, tenant), 0) < 1:
            raise RuntimeError(f"{lane} gave back a slot of {tenant!r} that it does not hold")
        self._taken -= 1
        _less(self._held, (lane, tenant))
        _less(self._by_tenant, tenant)

    def forget(self, lane: K) -> None:
        """The lane is gone; its turn is forgotten, the slots it holds are not."""
        self._served.pop(lane, None)

    def _rank(self, candidate: tuple[K, str], patience: int) -> tuple[bool, float, int]:
        lane, tenant = candidate
        held = self._by_tenant.get(tenant, 0)
        patient = self._passed_over.get(lane, 0) < patience
        return patient, held / self._weight(tenant) if held else 0.0, self._served.get(lane, 0)


def _less(counts: dict[H, int], key: H) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
