"""The outbox as the keeper tends it: how far the slot is behind, and its partitions, which come and go by days."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

# A slot that was lost has no `restart_lsn`, and stands where it last confirmed: what it has missed grows on. Others
# fill the disk, too, while nobody reads them, until they are lost.
# The newest row by an id that is not of the future: one from a host whose clock was ahead would stay it for as long.
_OUTBOX_STATE = sa.text("""
    SELECT (SELECT id FROM outbox
            WHERE id < CAST(lpad(to_hex((extract(epoch FROM statement_timestamp()) * 1000)::bigint + 1000), 12, '0')
                || repeat('0', 20) AS uuid)
            ORDER BY id DESC LIMIT 1) AS newest,
        (pg_current_wal_lsn() - '0/0')::bigint AS end_lsn,
        (min(confirmed_flush_lsn) FILTER (WHERE own) - '0/0')::bigint AS confirmed_lsn,
        coalesce((pg_current_wal_lsn() - least(
            min(coalesce(restart_lsn, confirmed_flush_lsn)) FILTER (WHERE own), min(restart_lsn) FILTER (WHERE idle)
        ))::bigint, 0) AS retained,
        coalesce(array_agg(slot_name ORDER BY slot_name) FILTER (WHERE idle), '{}') AS idle,
        current_setting('max_slot_wal_keep_size') = '-1' AS unbounded
    FROM (SELECT slot_name::text, restart_lsn, confirmed_flush_lsn, slot_name = :slot AS own,
              slot_name <> :slot AND NOT active AND restart_lsn IS NOT NULL AS idle
          FROM pg_replication_slots WHERE database = current_database()) AS slots
""")
# Partitions come and go under a lock that waits for every reader of the outbox, and all who write wait behind it.
_WAIT_BRIEFLY = sa.text("SELECT set_config('lock_timeout', '300ms', true)")
_ROTATE = sa.text("SELECT outbox_rotate(:keep * interval '1 second', :slot)")


class OutboxState(NamedTuple):
    """Where the outbox and its slot stand; LSNs as byte positions, None without a slot.

    `retained_bytes` is what the slot holds back; if it was lost, what it has missed since it last confirmed. If one of
    `idle_slots` holds back more, that: others of this database, which nobody reads. `unbounded`: Postgres lets them.
    """

    newest: UUID | None
    end_lsn: int
    confirmed_lsn: int | None
    retained_bytes: int
    idle_slots: tuple[str, ...]
    unbounded: bool


async def read_state(connection: AsyncConnection, *, slot: str) -> OutboxState:
    """The newest row, the WAL's end, and what the connector's slot has confirmed and retains."""
    row = (await connection.execute(_OUTBOX_STATE, {"slot": slot})).one()
    return OutboxState(row.newest, row.end_lsn, row.confirmed_lsn, row.retained, tuple(row.idle), row.unbounded)


async def rotate(connection: AsyncConnection, *, keep_s: float, slot: str) -> list[str]:
    """Make the coming days' partitions, drop old ones that the slot has confirmed; returns the dropped ones' names.

    While somebody reads the outbox for long its transaction fails (database_unavailable): there are days to try again.
    """
    await connection.execute(_WAIT_BRIEFLY)
    return list((await connection.execute(_ROTATE, {"keep": keep_s, "slot": slot})).scalars())
