"""Which partition carries which tenant: a table, so that no two producers can disagree and growth moves nobody.

A tenant has one or more buckets per topic, each with a partition; an asset's id decides its bucket. What is emitted
goes where the bucket is at that moment; an asset keeps the partition of its events (`assets.events_kpart`).
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.topics import TOPICS


class PlacementError(Exception):
    """A tenant cannot be placed as asked, or is not placed any more as it was when that was decided."""


class Placed(NamedTuple):
    """Where a tenant's records of a topic go: the partition of each bucket, in the buckets' order."""

    tenant_id: UUID
    slug: str
    topic: str
    kparts: tuple[int, ...]


_CREDITS = sa.text("SELECT slug, credits FROM tenants")
_CONFIRM = sa.text("""
    INSERT INTO partitions (topic, kpart) SELECT :route, generate_series(0, :count - 1)
    ON CONFLICT (topic, kpart) DO UPDATE SET confirmed_at = now()
""")
_COUNTS = sa.text("SELECT topic, count(*) AS total FROM partitions GROUP BY topic")
_PLACE = sa.text("""
    INSERT INTO placements (tenant_id, bucket, topic, kpart) VALUES (:tenant_id, 0, :route, :kpart)
    ON CONFLICT (tenant_id, topic, bucket) DO NOTHING
""")
_ALL = sa.text("""
    SELECT p.tenant_id, t.slug, p.topic, array_agg(p.kpart ORDER BY p.bucket) AS kparts
    FROM placements p JOIN tenants t ON t.id = p.tenant_id
    GROUP BY p.tenant_id, t.slug, p.topic ORDER BY p.topic, t.slug
""")
# The tenant's row is the lock: a tenant without placements has no other.
_LOCK = sa.text("SELECT slug FROM tenants WHERE id = :tenant_id FOR NO KEY UPDATE")
_CURRENT = sa.text("SELECT kpart FROM placements WHERE tenant_id = :tenant_id AND topic = :route ORDER BY bucket")
_PUT = sa.text("""
    INSERT INTO placements (tenant_id, bucket, topic, kpart)
    SELECT :tenant_id, bucket - 1, :route, kpart
    FROM unnest(CAST(:kparts AS int[])) WITH ORDINALITY AS wanted (kpart, bucket)
    ON CONFLICT (tenant_id, topic, bucket) DO UPDATE SET kpart = excluded.kpart
""")
_CUT = sa.text("DELETE FROM placements WHERE tenant_id = :tenant_id AND topic = :route AND bucket >= :buckets")


def kpart_of(tenant: str, topic: str, asset: str) -> str:
    """SQL for the partition to which a record about an asset goes now; NULL where its tenant has no placement.

    The arguments are SQL expressions. The last digits of an asset's id are random: they spread assets over buckets.
    """
    mine = f"tenant_id = {tenant} AND topic = {topic}"
    spread = f"CAST(CAST('x' || right(CAST({asset} AS text), 7) AS bit(28)) AS int)"
    return (
        f"(SELECT kpart FROM placements WHERE {mine} AND bucket = "  # noqa: S608 - expressions of our own
        f"{spread} % (SELECT nullif(count(*), 0) FROM placements WHERE {mine}))"
    )


KPART_OF_JOB = kpart_of("jobs.tenant_id", "jobs.topic", "jobs.asset_id")
"""For statements that queue rows of `jobs`: the row remembers where its newest dispatch is."""


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


async def read_placements(connection: AsyncConnection) -> list[Placed]:
    """Where every tenant is, by topic and slug."""
    return [Placed(row.tenant_id, row.slug, row.topic, tuple(row.kparts)) for row in await connection.execute(_ALL)]


async def tenant_credits(connection: AsyncConnection) -> dict[str, int]:
    """How many dispatches each tenant may have at once, per topic; by slug."""
    return {row.slug: row.credits for row in await connection.execute(_CREDITS)}


async def move(
    connection: AsyncConnection,
    tenant_id: UUID,
    topic: str,
    kparts: Sequence[int],
    *,
    expected: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Give a tenant these partitions, one bucket each, from the next record on; returns those that it had.

    Raises `PlacementError`: no such tenant, a partition that is not confirmed or named twice, or, with `expected`, a
    tenant that is not where the caller thought. What was emitted before stays where it is.
    """
    slug = (await connection.execute(_LOCK, {"tenant_id": tenant_id})).scalar_one_or_none()
    if slug is None:
        raise PlacementError(f"there is no tenant {tenant_id}")
    count = (await confirmed_partitions(connection)).get(topic, 0)
    _check(topic, kparts, count)
    key = {"tenant_id": tenant_id, "route": topic}
    before = tuple((await connection.execute(_CURRENT, key)).scalars())
    if expected is not None and before != tuple(expected):
        raise PlacementError(
            f"{slug} is on {named(before)} of {topic} by now, not on {named(expected)}; make a new plan"
        )
    await connection.execute(_PUT, key | {"kparts": list(kparts)})
    await connection.execute(_CUT, key | {"buckets": len(kparts)})
    return before


def named(kparts: Sequence[int]) -> str:
    """Partitions as people read them: `3`, or `1,5` for two buckets."""
    return ",".join(map(str, kparts)) or "none"


def _check(topic: str, kparts: Sequence[int], count: int) -> None:
    if not kparts:
        raise PlacementError("a tenant needs at least one partition")
    if len(set(kparts)) < len(kparts):
        raise PlacementError(f"{named(kparts)} names a partition twice")
    if not count:
        raise PlacementError(f"{topic} has no confirmed partitions: run `medialane topics apply` first")
    absent = [kpart for kpart in kparts if not 0 <= kpart < count]
    if absent:
        raise PlacementError(f"{topic} has partitions 0 to {count - 1}; {named(absent)} is not among them")
