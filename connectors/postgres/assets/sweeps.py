"""How far the walk over the bucket has come: a row, so that it is made by one keeper at a time and outlasts each."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

LEASE_S = 600.0
"""How long nothing may be heard from whoever walks, until another goes on in its place."""

_TAKE = sa.text("""
    UPDATE sweeps SET began_at = CASE WHEN position IS NULL THEN clock_timestamp() ELSE began_at END,
        position = coalesce(position, ''), lease_until = clock_timestamp() + :lease * interval '1 second'
    WHERE name = 'orphans' AND lease_until < statement_timestamp()
        AND (position IS NOT NULL OR began_at < statement_timestamp() - :interval * interval '1 second')
    RETURNING position
""")
_REACH = sa.text("""
    UPDATE sweeps SET position = :position, lease_until = clock_timestamp() + :lease * interval '1 second'
    WHERE name = 'orphans'
""")
_END = sa.text("""
    UPDATE sweeps SET position = NULL, lease_until = '-infinity',
        stopped_at = CASE WHEN :stopped THEN clock_timestamp() END
    WHERE name = 'orphans'
""")
_FORGET_STOP = sa.text("UPDATE sweeps SET stopped_at = NULL WHERE name = 'orphans'")
_STOPPED = sa.text("SELECT stopped_at IS NOT NULL FROM sweeps WHERE name = 'orphans'")


async def take(connection: AsyncConnection, *, interval_s: float) -> str | None:
    """Go on with the walk, after the key that is returned, or begin one ("") if the last began so long ago.

    None: none is due, or somebody is at it.
    """
    values = {"interval": interval_s, "lease": LEASE_S}
    position: str | None = (await connection.execute(_TAKE, values)).scalar_one_or_none()
    return position


async def reach(connection: AsyncConnection, position: str) -> None:
    """Remember the last key that was looked at; the walk stays the caller's."""
    await connection.execute(_REACH, {"position": position, "lease": LEASE_S})


async def end(connection: AsyncConnection, *, stopped: bool) -> None:
    """The walk is over, or was stopped because too much of what it met seemed to be nobody's."""
    await connection.execute(_END, {"stopped": stopped})


async def was_stopped(connection: AsyncConnection) -> bool:
    """Whether the last walk was stopped."""
    stopped: bool = (await connection.execute(_STOPPED)).scalar_one()
    return stopped


async def forget_stop(connection: AsyncConnection) -> None:
    """People have looked, and swept themselves; a walk that is under way goes on."""
    await connection.execute(_FORGET_STOP)
