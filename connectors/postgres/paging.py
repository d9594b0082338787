"""Pages: by time, and by id where two are of the same moment; lists go from the newest to the oldest."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Position(NamedTuple):
    """Where a page begins: after this row."""

    created_at: datetime
    id: UUID
