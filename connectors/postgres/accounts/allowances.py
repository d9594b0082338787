"""What is left of a tenant's plan, shared by all API processes, which lease blocks of it.

A process pays for many requests with one short transaction, so that a tenant is no hot row. What a process leased and
did not use when it died is lost: a few tokens, which flow back anyway, or a few assets of a quota, which are there
again after the next count.
"""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from connectors.postgres.accounts.asset_counts import count_assets
from connectors.postgres.accounts.plans import Plan

_ADD = sa.text("INSERT INTO allowances (tenant_id) VALUES (:tenant_id) ON CONFLICT (tenant_id) DO NOTHING")
# Postgres' clock may step back: then nothing flowed in, and nothing is taken away.
_TOKENS = sa.text("""
    SELECT least(CAST(:burst AS double precision),
        coalesce(tokens + greatest(extract(epoch FROM clock_timestamp() - refilled_at), 0) * :rate, :burst)) AS tokens
    FROM allowances WHERE tenant_id = :tenant_id FOR NO KEY UPDATE
""")
_SET_TOKENS = sa.text("""
    UPDATE allowances SET tokens = :tokens, refilled_at = clock_timestamp() WHERE tenant_id = :tenant_id
""")
_READ_USED = "SELECT assets, bytes, counts FROM allowances WHERE tenant_id = :tenant_id"
_LOOK, _USED = sa.text(_READ_USED), sa.text(f"{_READ_USED} FOR NO KEY UPDATE")
_SET_USED = sa.text("""
    UPDATE allowances SET assets = :assets, bytes = :bytes, counts = :counts WHERE tenant_id = :tenant_id
""")
# Where a count is ordered (NULL) it stays so: it will find what is given back gone.
_LESS = """
    UPDATE allowances SET assets = greatest(assets - :assets, 0), bytes = greatest(bytes - :bytes, 0)
    WHERE tenant_id = :tenant_id AND assets IS NOT NULL AND bytes IS NOT NULL
"""
_GIVE_BACK, _END_LEASE = sa.text(_LESS), sa.text(f"{_LESS} AND counts = :terms")
# Before something is given back: the update alone would see that a count is ordered, and not wait for one that is under
# way, which may have passed by what is given back.
_LOCK = sa.text("SELECT 1 FROM allowances WHERE tenant_id = :tenant_id FOR NO KEY UPDATE")
_OPEN_UPLOADS = sa.text("""
    SELECT count(*) FROM (
        SELECT FROM assets WHERE tenant_id = :tenant_id AND uploaded_at IS NULL AND state = 'pending'
            AND upload_expires_at > now() LIMIT :most
    ) AS found
""")


class Tokens(NamedTuple):
    """Tokens that were granted, and what is left in the bucket for others (a fraction, too)."""

    granted: int
    left: float


class Space(NamedTuple):
    """Assets and bytes of a quota."""

    assets: int = 0
    bytes: int = 0

    def plus(self, other: "Space") -> "Space":
        """Both together."""
        return Space(self.assets + other.assets, self.bytes + other.bytes)

    def minus(self, other: "Space") -> "Space":
        """What is left without the other; of neither less than none."""
        return Space(max(self.assets - other.assets, 0), max(self.bytes - other.bytes, 0))

    def covers(self, need: "Space") -> bool:
        """Whether there is enough of both."""
        return self.assets >= need.assets and self.bytes >= need.bytes


class Lease(NamedTuple):
    """Room that a process holds. `terms` is the number of the count under which it was leased.

    After the next count it no longer belongs to what is used.
    """

    space: Space = Space()
    terms: int = 0


async def lease_tokens(
    connection: AsyncConnection, tenant_id: UUID, plan: Plan, wanted: int, *, least: int = 1
) -> Tokens:
    """Take up to `wanted` tokens of a plan that has a request rate, or none where fewer than `least` are left."""
    rate, burst = plan.requests_per_s or 0, plan.request_burst or 0
    held = await _locked(connection, tenant_id, _TOKENS, {"rate": rate, "burst": burst})
    there = int(held.tokens)  # less than none, too: a release that did not heed the clock may have left a debt
    granted = min(wanted, there) if there >= least else 0
    left = held.tokens - granted
    await connection.execute(_SET_TOKENS, {"tenant_id": tenant_id, "tokens": left})
    return Tokens(granted, left)


async def lease_space(
    connection: AsyncConnection, tenant_id: UUID, plan: Plan, *, held: Lease, need: Space, block: Space
) -> tuple[Lease, Space]:
    """Take what a process that has `held` lacks of `need`, and up to a block where it lacks nothing or less.

    Returns what it holds then (less than the need, if that is not there) and what the tenant has used, this included.
    """
    row = await _locked(connection, tenant_id, _USED, {})
    if row.assets is not None and row.bytes is not None:
        used, counts = Space(row.assets, row.bytes), row.counts
    else:
        used = Space(*await count_assets(connection, tenant_id, deleted=False))
        counts = row.counts + 1
    if counts != held.terms:
        held = Lease(terms=counts)
    lacking = need.minus(held.space)
    granted = Space(
        _grant(plan.max_assets, used.assets, lacking.assets, block.assets),
        _grant(plan.max_bytes, used.bytes, lacking.bytes, block.bytes),
    )
    if not granted.covers(lacking):
        granted = Space()
    used = used.plus(granted)
    if any(granted) or counts != row.counts:  # or else nothing changed: a tenant at its limit asks again and again
        await connection.execute(_SET_USED, {"tenant_id": tenant_id, "counts": counts} | used._asdict())
    return held._replace(space=held.space.plus(granted)), used


async def find_used(connection: AsyncConnection, tenant_id: UUID, plan: Plan, *, held: Lease) -> tuple[Lease, Space]:
    """What a process that has `held` still holds, and what the tenant has used, this included; takes nothing.

    Writes only what was counted, where a count is ordered.
    """
    row = (await connection.execute(_LOOK, {"tenant_id": tenant_id})).one_or_none()
    if row is None or row.assets is None or row.bytes is None:
        return await lease_space(connection, tenant_id, plan, held=held, need=Space(), block=Space())
    return held if row.counts == held.terms else Lease(terms=row.counts), Space(row.assets, row.bytes)


async def give_back(connection: AsyncConnection, tenant_id: UUID, space: Space) -> None:
    """Return the assets and bytes that a deletion set free."""
    await _locked(connection, tenant_id, _LOCK, {})
    await connection.execute(_GIVE_BACK, {"tenant_id": tenant_id} | space._asdict())


async def end_lease(connection: AsyncConnection, tenant_id: UUID, lease: Lease) -> None:
    """Return what a process leased and did not use; nothing if it was counted without it since."""
    await connection.execute(_END_LEASE, {"tenant_id": tenant_id, "terms": lease.terms} | lease.space._asdict())


async def count_open_uploads(connection: AsyncConnection, tenant_id: UUID, *, most: int) -> int:
    """Uploads whose address still holds and that nobody completed; counts no further than `most`."""
    count: int = (await connection.execute(_OPEN_UPLOADS, {"tenant_id": tenant_id, "most": most})).scalar_one()
    return count


def _grant(limit: int | None, used: int, need: int, block: int) -> int:
    """Near the limit blocks become small, so that one process does not hold what another one is refused."""
    if limit is None:
        return max(need, block)
    return max(need, min(block, (limit - used) // 8)) if used + need <= limit else 0


async def _locked(
    connection: AsyncConnection, tenant_id: UUID, select: sa.TextClause, values: dict[str, object]
) -> sa.Row[tuple[object, ...]]:
    row = (await connection.execute(select, values | {"tenant_id": tenant_id})).one_or_none()
    if row is None:
        await connection.execute(_ADD, {"tenant_id": tenant_id})
        row = (await connection.execute(select, values | {"tenant_id": tenant_id})).one()
    return row
