"""The order in which a lane starts what waits in it: a small port, and first in, first out."""

from collections import deque
from typing import Generic, NamedTuple, Protocol, TypeVar

from streams.core.ledger import Entry

T = TypeVar("T")


class Item(NamedTuple, Generic[T]):
    """A record that waits in a lane. `again`: it was offered before, and goes before its tenant's others."""

    entry: Entry
    tenant: str
    payload: T
    again: bool = False


class Beyond(NamedTuple, Generic[T]):
    """An item that was taken out because its tenant has too many here; so many of its tenant's were before it."""

    item: Item[T]
    position: int


class LaneQueue(Protocol[T]):
    """Decides which waiting item is next. What was popped may be put back if it could not be started."""

    def push(self, item: Item[T]) -> None:
        """Add a new item."""

    @property
    def ready(self) -> bool:
        """Whether `pop` would find an item."""

    @property
    def turn(self) -> str:
        """Whose item `pop` would take; raises `IndexError` when none may start."""

    def pop(self) -> Item[T]:
        """Take the next item; raises `IndexError` when none may start."""

    def put_back(self, item: Item[T]) -> None:
        """Undo a `pop`."""

    def settle(self, tenant: str, cost: float) -> None:
        """A started item of this tenant turned out to cost so much, in CPU seconds."""

    def beyond_share(self, room: int) -> list[Beyond[T]]:
        """Take out each tenant's newest items beyond its share of so many places.

        One place is kept for a tenant that is not here yet.
        """

    def older(self, offset: int) -> list[Beyond[T]]:
        """Take out every item whose offset is not above this one."""

    def clear(self) -> None:
        """Forget every waiting item."""

    def __len__(self) -> int:
        """How many items wait."""


class Fifo(Generic[T]):
    """First in, first out, whoever's it is."""

    def __init__(self) -> None:
        self._items: deque[Item[T]] = deque()

    def push(self, item: Item[T]) -> None:
        """Add a new item at the end."""
        self._items.append(item)

    @property
    def ready(self) -> bool:
        """Whether anything waits."""
        return bool(self._items)

    @property
    def turn(self) -> str:
        """Whose item is the oldest; raises `IndexError` when there is none."""
        return self._items[0].tenant

    def pop(self) -> Item[T]:
        """Take the oldest item; raises `IndexError` when there is none."""
        return self._items.popleft()

    def put_back(self, item: Item[T]) -> None:
        """Undo a `pop`."""
        self._items.appendleft(item)

    def settle(self, tenant: str, cost: float) -> None:
        """Costs do not matter here."""

    def beyond_share(self, room: int) -> list[Beyond[T]]:
        """Nobody has a share here."""
        del room
        return []

    def older(self, offset: int) -> list[Beyond[T]]:
        """Take out every item whose offset is not above this one."""
        out = [item for item in self._items if item.entry.offset <= offset]
        self._items = deque(item for item in self._items if item.entry.offset > offset)
        return [Beyond(item, position) for position, item in enumerate(out)]

    def clear(self) -> None:
        """Forget every waiting item."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)
