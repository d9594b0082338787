"""Pages: lists go from the newest to the oldest, and by id where two are of the same moment."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Position(NamedTuple):
    """Where a page begins: after this row."""

    created_at: datetime
    id: UUID
