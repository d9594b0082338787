"""Who this installation is, as its bucket is marked: one row, and whether the bucket was. For the worker role."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

_READ = sa.text("SELECT id, marked_at IS NOT NULL FROM installation")
_MARKED = sa.text("UPDATE installation SET marked_at = clock_timestamp()")
_USED = sa.text("SELECT EXISTS (SELECT FROM assets WHERE uploaded_at IS NOT NULL)")


class Installation(NamedTuple):
    """`marked`: there is, or was, a bucket that bears this id."""

    id: UUID
    marked: bool


async def read(connection: AsyncConnection) -> Installation:
    """Who we are."""
    return Installation(*(await connection.execute(_READ)).one())


async def note_marked(connection: AsyncConnection) -> None:
    """Remember that a bucket bears our id."""
    await connection.execute(_MARKED)


async def is_used(connection: AsyncConnection) -> bool:
    """Whether an upload was ever completed here, as far as rows still tell."""
    used: bool = (await connection.execute(_USED)).scalar_one()
    return used
