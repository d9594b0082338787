"""Which events were counted lately, by their ids: after a crash of Connect up to a second of them comes again."""

from uuid import UUID

from streams.core.ledger import Partition


class Lately:
    """Ids of the newest `size` counted events of all partitions, with the offset that each was counted at.

    An id's offset is a fact about the topic, whoever has its partition, so a rebalance is no reason to forget it.
    """

    def __init__(self, size: int = 65_536) -> None:
        self._size = size
        self._offsets: dict[tuple[Partition, UUID], int] = {}

    def is_repeat(self, partition: Partition, event_id: UUID, offset: int) -> bool:
        """Whether the event is known under another offset; one that is not known is from now on."""
        known, key = self._offsets, (partition, event_id)
        counted_at = known.pop(key, offset)
        known[key] = counted_at  # the newest again: a connector that crashes in a loop sends it once more
        if len(known) > self._size:
            del known[next(iter(known))]
        return counted_at != offset
