"""A plan of placements: hot tenants get more buckets, full partitions give some away, and nobody moves without need."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Move(NamedTuple):
    """A tenant's partitions now and in the plan, one per bucket."""

    tenant: str
    have: tuple[int, ...]
    want: tuple[int, ...]


class Plan(NamedTuple):
    """Moves, and the load of each partition without and with them (in the unit of the loads, CPU seconds)."""

    moves: tuple[Move, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]


def plan(
    placements: Mapping[str, tuple[int, ...]],
    loads: Mapping[str, float],
    partitions: int,
    *,
    tolerance: float = 0.25,
    most_moves: int | None = None,
) -> Plan:
    """Spread the loads so that, where it can be done, no partition has more than the mean plus `tolerance`.

    A tenant that is more than one partition may have is split into buckets, each on a partition of its own; then the
    fullest partition gives a bucket to the emptiest as long as that helps. `most_moves` bounds the tenants that move.
    Raises `ValueError` for placements on partitions that are not there.
    """
    if any(not 0 <= kpart < partitions for kparts in placements.values() for kpart in kparts):
        raise ValueError(f"a tenant is placed on a partition that is not among the {partitions}")
    before = partition_loads(placements, loads, partitions)
    draft = _Draft(placements, loads, partitions, tolerance, most_moves)
    if draft.bound > 0:
        draft.split()
        draft.level()
        if max(draft.totals) > max(before):
            # Halves of a large tenant may fit nowhere: then it stays whole.
            draft = _Draft(placements, loads, partitions, tolerance, most_moves)
            draft.level()
    moves = tuple(
        Move(tenant, have, draft.kparts[tenant])
        for tenant, have in sorted(placements.items())
        if draft.kparts[tenant] != have
    )
    return Plan(moves, before, tuple(draft.totals))


def partition_loads(
    placements: Mapping[str, tuple[int, ...]], loads: Mapping[str, float], partitions: int
) -> tuple[float, ...]:
    """The load of each partition, if a tenant's load spreads evenly over its buckets."""
    totals = [0.0] * partitions
    for tenant, kparts in placements.items():
        for kpart in kparts:
            totals[kpart] += loads.get(tenant, 0.0) / len(kparts)
    return tuple(totals)


def skew(totals: Iterable[float]) -> float:
    """How many times the mean the fullest partition has; 1 is even, 0 means that there is no load."""
    found = list(totals)
    mean = sum(found) / len(found) if found else 0.0
    return max(found) / mean if mean > 0 else 0.0


class _Draft:
    def __init__(
        self,
        placements: Mapping[str, tuple[int, ...]],
        loads: Mapping[str, float],
        partitions: int,
        tolerance: float,
        most_moves: int | None,
    ) -> None:
        self.kparts = {tenant: kparts for tenant, kparts in placements.items() if kparts}
        self.totals = list(partition_loads(self.kparts, loads, partitions))
        self._original = dict(self.kparts)
        self._loads = loads
        self._most_moves = len(self.kparts) if most_moves is None else most_moves
        # Of the loads, not of where they lie: or a plan's own plan has another bound, by a rounding error.
        self.bound = math.fsum(loads.get(tenant, 0.0) for tenant in self.kparts) / partitions * (1 + tolerance)

    def split(self) -> None:
        for tenant in sorted(self.kparts, key=lambda name: (-self._loads.get(name, 0.0), name)):
            have, load = self.kparts[tenant], self._loads.get(tenant, 0.0)
            if load <= self.bound or not self._may_move(tenant):
                continue
            wanted = min(len(self.totals), math.ceil(load / self.bound))
            chosen = list(have)
            others = [total - self._share(tenant) * (kpart in have) for kpart, total in enumerate(self.totals)]
            while len(chosen) < wanted:
                chosen.append(min((k for k in range(len(others)) if k not in chosen), key=lambda k: (others[k], k)))
            self._place(tenant, tuple(chosen))

    def level(self) -> None:
        while max(self.totals) > self.bound * (1 + 1e-9) and (step := self._best_step()) is not None:
            self._place(*step)

    def _best_step(self) -> tuple[str, tuple[int, ...]] | None:
        """The move of one bucket off the fullest partition that leaves the two lowest; None if none helps."""
        full = max(range(len(self.totals)), key=lambda kpart: (self.totals[kpart], -kpart))
        best: tuple[float, str, tuple[int, ...]] | None = None
        for tenant, kparts in sorted(self.kparts.items()):
            share = self._share(tenant)
            free = [kpart for kpart in range(len(self.totals)) if kpart not in kparts]
            if full not in kparts or not free or share <= 0 or not self._may_move(tenant):
                continue
            to = min(free, key=lambda kpart: (self.totals[kpart], kpart))
            height = max(self.totals[full] - share, self.totals[to] + share)
            if height < self.totals[full] * (1 - 1e-9) and (best is None or height < best[0]):
                best = height, tenant, tuple(to if kpart == full else kpart for kpart in kparts)
        return None if best is None else best[1:]

    def _place(self, tenant: str, kparts: tuple[int, ...]) -> None:
        for kpart in self.kparts[tenant]:
            self.totals[kpart] -= self._share(tenant)
        self.kparts[tenant] = kparts
        for kpart in kparts:
            self.totals[kpart] += self._share(tenant)

    def _share(self, tenant: str) -> float:
        return self._loads.get(tenant, 0.0) / len(self.kparts[tenant])

    def _may_move(self, tenant: str) -> bool:
        moved = {name for name, kparts in self.kparts.items() if kparts != self._original[name]}
        return tenant in moved or len(moved) < self._most_moves
