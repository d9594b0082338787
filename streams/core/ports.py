"""What Faust's consumer and what stands behind it need of each other. Neither side names a type of the other's."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from streams.core.ledger import Partition


class Books(Protocol):
    """What the consumer tells and asks about offsets: the lanes, the webhooks' intake or the usage table's books."""

    @property
    def poll(self) -> int:
        """Records per fetch, at most; twice as many may arrive after `on_buffer_full`."""

    def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """A new assignment of exactly these partitions begins."""

    def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """These partitions are no longer ours; what was committable has just been committed."""

    def positions(self) -> Mapping[Partition, int]:
        """What may be committed now."""


class Flow(Protocol):
    """Who fetches: Faust's consumer."""

    def on_buffer_full(self, tp: Any) -> None:
        """Stop fetching from a partition."""

    def on_buffer_drop(self, tp: Any) -> None:
        """Fetch from it again."""
