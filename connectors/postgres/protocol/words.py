"""The caller's own words in the events that end an asset: who reads them knows whose it is without asking the API."""

from typing import Any, NamedTuple, Self

import sqlalchemy as sa
from msgspec.structs import replace

from connectors.postgres.outbox import MOST_PAYLOAD_BYTES, EventMaker
from schemas.events import AssetEnd, AssetReady, Event, encode_event

COLUMNS = "file_name, metadata, tags"
"""What a statement that ends assets has to return, last."""


class Words(NamedTuple):
    """An asset's columns that its owner writes; those of `COLUMNS`, in its order."""

    file_name: str
    metadata: dict[str, str]
    tags: tuple[str, ...]

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        """Those of a row that has them."""
        return cls(row.file_name, row.metadata, tuple(row.tags))


def told(maker: EventMaker, words: Words) -> EventMaker:
    """The maker, whose event carries the words if it is one that ends an asset."""

    def make(**common: Any) -> Event:
        event = maker(**common)
        return _fitted(event, words) if isinstance(event, AssetEnd) else event

    return make


def _fitted(event: AssetEnd, words: Words) -> AssetEnd:
    """The event with all the words that a row has room for: no job's end may fail of its event's size.

    Tags go first: metadata holds the ids of orders and users. Variants alone are too many where a tenant has renamed
    its profiles again and again: then the oldest go.
    """
    worded = replace(event, **words._asdict())
    for without in ("tags", "metadata", "file_name"):
        if _fits(worded):
            return worded
        worded = replace(worded, **{without: None})
    while isinstance(worded, AssetReady) and worded.variants and not _fits(worded):
        worded = replace(worded, variants=worded.variants[1:])
    return worded


def _fits(event: AssetEnd) -> bool:
    return len(encode_event(event)) <= MOST_PAYLOAD_BYTES
