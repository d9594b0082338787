"""What platform teams change while workers run: each topic's lanes, and what each tenant may have of them."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import LANE_RUNNING_BOUNDS, LANE_WINDOW_BOUNDS

MOST_WEIGHT = 1000.0
CREDITS = (8, 10_000)
"""Fewest and most credits: of fewer than 8 an eighth, which bulk jobs may have, is none."""

_LANES = sa.text("SELECT topic, running, window_records AS window, updated_at FROM lane_settings ORDER BY topic")
# Both columns at once: what was not named stays as it is, which the caller has read under the row's lock.
_SET_LANE = sa.text("""
    INSERT INTO lane_settings AS now (topic, running, window_records) VALUES (:topic, :running, :window)
    ON CONFLICT (topic) DO UPDATE SET running = coalesce(excluded.running, now.running),
        window_records = coalesce(excluded.window_records, now.window_records), updated_at = clock_timestamp()
    RETURNING topic, running, window_records AS window, updated_at
""")
_RESET_LANE = sa.text("DELETE FROM lane_settings WHERE topic = :topic")
_SHARES = sa.text("""
    SELECT s.tenant_id, t.slug, s.weight, s.cap, s.updated_at
    FROM tenant_shares s JOIN tenants t ON t.id = s.tenant_id ORDER BY t.slug
""")
_SET_SHARE = sa.text("""
    INSERT INTO tenant_shares AS now (tenant_id, weight, cap)
    VALUES (:tenant_id, coalesce(CAST(:weight AS double precision), 1), coalesce(CAST(:cap AS int), 0))
    ON CONFLICT (tenant_id) DO UPDATE SET weight = coalesce(CAST(:weight AS double precision), now.weight),
        cap = coalesce(CAST(:cap AS int), now.cap), updated_at = clock_timestamp()
""")
_RESET_SHARE = sa.text("DELETE FROM tenant_shares WHERE tenant_id = :tenant_id")
_SET_CREDITS = sa.text("UPDATE tenants SET credits = :credits WHERE id = :tenant_id")
_RESET_CREDITS = sa.text("UPDATE tenants SET credits = DEFAULT WHERE id = :tenant_id")
_ALLOTMENT = sa.text("""
    SELECT coalesce(s.weight, 1) AS weight, coalesce(s.cap, 0) AS cap, t.credits
    FROM tenants t LEFT JOIN tenant_shares s ON s.tenant_id = t.id WHERE t.id = :tenant_id
""")


class LaneTuning(msgspec.Struct, frozen=True, kw_only=True):
    """A topic's lanes; None leaves a value to each worker's own settings."""

    topic: str
    running: int | None = None
    window: int | None = None
    updated_at: datetime | None = None


class TenantShare(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's weight among others, and the most jobs that run at once in a lane (0: no bound)."""

    tenant_id: UUID
    slug: str
    weight: float
    cap: int
    updated_at: datetime


class Allotment(NamedTuple):
    """What a tenant has, whether it was named or not: weight, cap (0: no bound), and dispatches of a topic at once."""

    weight: float
    cap: int
    credits: int


async def lane_tunings(connection: AsyncConnection) -> tuple[LaneTuning, ...]:
    """Every topic whose lanes were tuned."""
    return tuple(LaneTuning(**row) for row in (await connection.execute(_LANES)).mappings())


async def tune_lanes(connection: AsyncConnection, topic: str, *, running: int | None, window: int | None) -> LaneTuning:
    """Change what is not None for a topic (its route). Raises `MedialaneError(invalid_request)`."""
    _check("running", running, LANE_RUNNING_BOUNDS)
    _check("window", window, LANE_WINDOW_BOUNDS)
    values = {"topic": topic, "running": running, "window": window}
    return LaneTuning(**(await connection.execute(_SET_LANE, values)).mappings().one())


async def untune_lanes(connection: AsyncConnection, topic: str) -> None:
    """Leave a topic's lanes to each worker's own settings again."""
    await connection.execute(_RESET_LANE, {"topic": topic})


async def tenant_shares(connection: AsyncConnection) -> tuple[TenantShare, ...]:
    """Every tenant that was given a share of its own, by slug."""
    return tuple(TenantShare(**row) for row in (await connection.execute(_SHARES)).mappings())


async def set_share(connection: AsyncConnection, tenant_id: UUID, *, weight: float | None, cap: int | None) -> None:
    """Change what is not None of a tenant's share. Raises `MedialaneError(invalid_request)`."""
    if weight is not None and not 0 < weight <= MOST_WEIGHT:
        detail = f"A weight is above 0 and at most {MOST_WEIGHT:g}, not {weight:g}."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="weight")
    if cap is not None and cap < 0:
        raise MedialaneError(ErrorCode.INVALID_REQUEST, f"A cap is 0 (none) or more, not {cap}.", field="cap")
    await connection.execute(_SET_SHARE, {"tenant_id": tenant_id, "weight": weight, "cap": cap})


async def set_credits(connection: AsyncConnection, tenant_id: UUID, credits_: int) -> None:
    """Bound a tenant's dispatches of a topic. Raises `MedialaneError(invalid_request)`."""
    _check("credits", credits_, CREDITS)
    await connection.execute(_SET_CREDITS, {"tenant_id": tenant_id, "credits": credits_})


async def reset_share(connection: AsyncConnection, tenant_id: UUID) -> None:
    """Give a tenant what tenants have that were not named: weight 1, no cap, 64 credits."""
    await connection.execute(_RESET_SHARE, {"tenant_id": tenant_id})
    await connection.execute(_RESET_CREDITS, {"tenant_id": tenant_id})


async def allotment(connection: AsyncConnection, tenant_id: UUID) -> Allotment:
    """What a tenant has now."""
    return Allotment(*(await connection.execute(_ALLOTMENT, {"tenant_id": tenant_id})).one())


def _check(name: str, value: int | None, bounds: tuple[int, int]) -> None:
    least, most = bounds
    if value is not None and not least <= value <= most:
        raise MedialaneError(ErrorCode.INVALID_REQUEST, f"{name} is from {least} to {most}, not {value}.", field=name)
