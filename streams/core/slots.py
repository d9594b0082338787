"""Slots: how many jobs a process runs at once, dealt fairly over its lanes."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Slots(Generic[K]):
    """A fixed number of slots. The next one goes to the lane that holds fewest; among equals, to the one that has
    waited longest since it was last served. So a lane of short jobs is never starved by lanes of long ones.
    """

    def __init__(self, total: int) -> None:
        if total < 1:
            raise ValueError(f"a process needs at least one slot, not {total}")
        self._total = total
        self._held: dict[K, int] = {}
        self._served: dict[K, int] = {}
        self._turn = 0

    @property
    def total(self) -> int:
        """How many slots there are."""
        return self._total

    @property
    def free(self) -> int:
        """How many slots nobody holds."""
        return self._total - sum(self._held.values())

    def deal(self, ready: Iterable[K]) -> K | None:
        """Give a free slot to one of the lanes that could use it; None if there is no slot or no lane."""
        if self.free <= 0:
            return None
        lane = min(ready, key=lambda key: (self._held.get(key, 0), self._served.get(key, 0)), default=None)
        if lane is not None:
            self._turn += 1
            self._held[lane] = self._held.get(lane, 0) + 1
            self._served[lane] = self._turn
        return lane

    def give_back(self, lane: K) -> None:
        """A slot of this lane is free again."""
        if self._held.get(lane, 0) < 1:
            raise RuntimeError(f"{lane} gave back a slot that it does not hold")
        self._held[lane] -= 1
        if not self._held[lane]:
            del self._held[lane]

    def forget(self, lane: K) -> None:
        """The lane is gone; its turn is forgotten, the slots it holds are not."""
        self._served.pop(lane, None)
