"""Which of the table's entries are kept: those of windows that the events of their partition have not left far behind.

By the events and not by the clock: where it reads what is days old, a window that the clock forgot would begin again
from nothing, and its small entry overwrite the full one in the changelog.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator

from schemas.usage import Key

_NEVER = float("-inf")


class Windows:
    """The entries' keys by partition and window, and how far each partition's events have come."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._newest: dict[int, float] = {}
        self._keys: dict[int, dict[tuple[float, float], set[str]]] = defaultdict(dict)

    def saw(self, partition: int, moment: float, written_at: float) -> None:
        """An event or a window is of this moment.

        A record cannot tell of events later than itself: one that a wrong clock put into the future ends no window.
        """
        seen = min(moment, written_at, time.time())
        if seen > self._newest.get(partition, _NEVER):
            self._newest[partition] = seen

    def is_past(self, partition: int, end: float) -> bool:
        """Whether a window that ends then is kept no more. It stays so for as long as we have the partition."""
        return end <= self._newest.get(partition, _NEVER) - self._keep_s

    def add(self, key: Key) -> None:
        """There is an entry with this key."""
        self._keys[key.partition].setdefault((key.start, key.end), set()).add(key.tenant_id)

    def past(self) -> Iterator[list[Key]]:
        """What is past, window by window; it is known no more. Partitions may come and go while it is asked for."""
        known = [(partition, window) for partition, windows in self._keys.items() for window in windows]
        for partition, window in known:
            if self.is_past(partition, window[1]):
                tenants = self._keys.get(partition, {}).pop(window, set())
                yield [Key(tenant_id, partition, *window) for tenant_id in tenants]

    def lost(self, kept: Collection[int]) -> Iterator[Key]:
        """What belongs to other partitions than these; it is known no more, nor how far they had come."""
        for partition in self._newest.keys() - kept:
            del self._newest[partition]
        for partition in self._keys.keys() - kept:
            for (start, end), tenants in self._keys.pop(partition).items():
                yield from (Key(tenant_id, partition, start, end) for tenant_id in tenants)
