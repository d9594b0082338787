"""Everything that is stored sealed: webhook secrets, and answers that are kept for an Idempotency-Key.

For the worker role. Rows are found by the beginning of what they hold, which names the key that sealed it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.secrets import HEAD_BYTES, SecretUnreadableError


class Place(NamedTuple):
    """A column of sealed texts."""

    name: str
    page: sa.TextClause
    write: sa.TextClause


def _place(name: str, table: str, column: str, key: tuple[str, ...]) -> Place:
    names, types = ", ".join(key), {"key": "text"}
    after = ", ".join(f"CAST(:{part} AS {types.get(part, 'uuid')})" for part in key)
    same = " AND ".join(f"{part} = :{part}" for part in key)
    other = f"{column} IS NOT NULL AND substring({column} FROM 1 FOR length(:head)) <> :head"
    return Place(
        name,
        sa.text(f"""
            SELECT {names}, {column} AS sealed FROM {table} WHERE {other} AND ({names}) > ({after})
            ORDER BY {names} LIMIT :limit FOR NO KEY UPDATE
        """),  # noqa: S608 - made of constants
        sa.text(f"UPDATE {table} SET {column} = :sealed WHERE {same}"),  # noqa: S608 - made of constants
    )


# Old secrets after present ones: a rotation moves one there, and it would be passed over by a walk the other way.
PLACES = (
    _place("endpoint secrets", "webhook_endpoints", "secret", ("id",)),
    _place("old endpoint secrets", "webhook_endpoints", "secret_old", ("id",)),
    _place("kept answers", "idempotency_keys", "body", ("tenant_id", "key")),
)

_HEADS = sa.text("""
    SELECT substring(secret FROM 1 FOR :length) FROM webhook_endpoints WHERE deleted_at IS NULL
    UNION
    SELECT substring(secret_old FROM 1 FOR :length) FROM webhook_endpoints
    WHERE deleted_at IS NULL AND secret_old_until > now()
""")

Cursor = Mapping[str, object]

_NOWHERE = "00000000-0000-0000-0000-000000000000"
FIRST: Cursor = {"id": _NOWHERE, "tenant_id": _NOWHERE, "key": ""}
"""Before every row of every place."""


class Resealed(NamedTuple):
    """What a page came to: rows sealed anew, rows that none of the keys opens, and where to go on (None: the end)."""

    done: int
    unreadable: int
    after: Cursor | None


async def endpoint_heads(connection: AsyncConnection) -> list[bytes]:
    """How the secrets of endpoints begin that deliveries are signed with, each beginning once."""
    return [bytes(head) for head in (await connection.execute(_HEADS, {"length": HEAD_BYTES})).scalars()]


async def reseal_page(
    connection: AsyncConnection,
    place: Place,
    *,
    head: bytes,
    again: Callable[[bytes], bytes],
    after: Cursor,
    limit: int,
    write: bool = True,
) -> Resealed:
    """Seal the next rows anew that are not sealed with `head`; `again` opens and seals, or cannot open.

    Without `write` it is only tried.
    """
    rows = (await connection.execute(place.page, {**after, "head": head, "limit": limit})).mappings().all()
    done = 0
    for row in rows:
        try:
            sealed = again(bytes(row["sealed"]))
        except SecretUnreadableError:
            continue
        if write:
            await connection.execute(place.write, {**row, "sealed": sealed})
        done += 1
    last = {name: value for name, value in rows[-1].items() if name != "sealed"} if len(rows) == limit else None
    return Resealed(done, len(rows) - done, last)
