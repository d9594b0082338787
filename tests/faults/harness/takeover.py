"""How long jobs of a killed worker lay still: from the kill to the moment another worker holds them, by their rows."""

import asyncio
import time

from harness.bed import Bed

_HELD = """
    SELECT id::text AS id, epoch FROM jobs
    WHERE state = 'running' AND split_part(owner, '/', 2) = %s AND lease_until > clock_timestamp()
"""
_NOW = "SELECT id::text AS id, state, epoch FROM jobs WHERE id = ANY(%s::uuid[])"
_BOUND_S = 120.0


async def held_by(bed: Bed, pid: int) -> dict[str, int]:
    """The jobs that a worker process holds, with their epochs."""
    return {row["id"]: row["epoch"] for row in await bed.rows(_HELD, str(pid))}


async def taken_over(bed: Bed, orphans: dict[str, int], since: float) -> list[float]:
    """Seconds from `since` until each orphan was claimed again; returns when all were."""
    left, seconds = dict(orphans), []
    while left:
        for row in await bed.rows(_NOW, list(left)):
            if row["epoch"] > left[row["id"]] or row["state"] in {"done", "failed", "cancelled"}:
                del left[row["id"]]
                seconds.append(round(time.time() - since, 2))
        if time.time() - since > _BOUND_S:
            raise AssertionError(f"not taken over within {_BOUND_S:.0f} s: {left}")
        await asyncio.sleep(0.1)
    return seconds
