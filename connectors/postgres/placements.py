"""Which partition carries which tenant: a table, so that no two producers can disagree and growth moves nobody."""

import zlib
from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import TOPICS

_CONFIRM = sa.text("""
    INSERT INTO partitions (topic, kpart) SELECT :route, generate_series(0, :count - 1)
    ON CONFLICT (topic, kpart) DO UPDATE SET confirmed_at = now()
""")
_COUNTS = sa.text("SELECT topic, count(*) AS total FROM partitions GROUP BY topic")
_PLACE = sa.text("""
    INSERT INTO placements (tenant_id, bucket, topic, kpart) VALUES (:tenant_id, 0, :route, :kpart)
    ON CONFLICT (tenant_id, topic, bucket) DO NOTHING
""")


async def confirm_partitions(connection: AsyncConnection, counts: Mapping[str, int]) -> None:
    """Record that partitions 0..n-1 of each route (topic name without prefix) exist in Kafka."""
    for route, count in counts.items():
        await connection.execute(_CONFIRM, {"route": route, "count": count})


async def confirmed_partitions(connection: AsyncConnection) -> dict[str, int]:
    """How many partitions of each route are confirmed."""
    return {row.topic: row.total for row in await connection.execute(_COUNTS)}


async def place_tenant(connection: AsyncConnection, tenant_id: UUID) -> dict[str, int]:
    """Give a new tenant a partition of every placed topic, by hash; keeps what it has. Returns what the hash chose.

    Raises `LookupError` when a topic's partitions were never confirmed (`medialane topics apply` does).
    """
    counts = await confirmed_partitions(connection)
    chosen: dict[str, int] = {}
    for topic in TOPICS:
        if not topic.placed:
            continue
        if topic.route not in counts:
            raise LookupError(f"no partition of {topic.route} is confirmed: run `medialane topics apply` first")
        chosen[topic.route] = zlib.crc32(tenant_id.bytes) % counts[topic.route]
        await connection.execute(_PLACE, {"tenant_id": tenant_id, "route": topic.route, "kpart": chosen[topic.route]})
    return chosen
