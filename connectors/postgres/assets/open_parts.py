"""Uploads in parts that are under way, as rows. For the worker role."""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.turns import tenants_with

_OPEN = "upload_id IS NOT NULL AND uploaded_at IS NULL AND state = 'pending'"
# NULLS FIRST, though there are none, is the order of no other index: a tenant's are never sought by walking over those
# of all others.
_WHOSE = sa.text(f"""
    WITH RECURSIVE {tenants_with("holding", _OPEN, table="assets", order="tenant_id, id NULLS FIRST")}
    SELECT tenant_id FROM holding
""")  # noqa: S608 - made of constants
_OF_ONE = f"""
    SELECT id, tenant_id, object_key, upload_id, size FROM assets
    WHERE tenant_id = turns.tenant_id AND {_OPEN} AND {{which}}
    ORDER BY id NULLS FIRST LIMIT :limit
"""  # noqa: S608 - made of constants
# First the one of each tenant that comes after its last, then the second of each, until there are enough.
_FIND = sa.text(f"""
    SELECT own.id, own.tenant_id, own.object_key, own.upload_id, own.size
    FROM unnest(CAST(:tenants AS uuid[]), CAST(:after AS uuid[])) WITH ORDINALITY AS turns (tenant_id, after, turn),
        LATERAL (
            SELECT *, row_number() OVER (ORDER BY id <= turns.after, id) AS place FROM (
                ({_OF_ONE.format(which="id > turns.after")}) UNION ALL ({_OF_ONE.format(which="id <= turns.after")})
            ) AS both_ways
        ) AS own
    ORDER BY place, turn LIMIT :limit
""")  # noqa: S608 - made of constants


class OpenUpload(NamedTuple):
    """An upload whose parts are not put together yet; `upload_id` is the store's, `size` what was announced, bytes."""

    id: UUID
    tenant_id: UUID
    object_key: str
    upload_id: str
    size: int


async def whose_open(connection: AsyncConnection) -> list[UUID]:
    """The tenants that have any, by id."""
    return list((await connection.execute(_WHOSE)).scalars())


async def find_open(connection: AsyncConnection, *, after: Mapping[UUID, UUID], limit: int) -> tuple[OpenUpload, ...]:
    """Some of these tenants', in turn: of each those after its id here, and then those from its first on."""
    values = {"tenants": list(after), "after": list(after.values()), "limit": limit}
    rows = await connection.execute(_FIND, values)
    return tuple(OpenUpload(*row) for row in rows)
