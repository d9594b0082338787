"""How long jobs of a killed worker lay still: from the kill to the moment another worker holds them, by their rows.

A job that is offered again and not taken waits for a slot, which is the load's doing; one that is not offered is lost to
the keeper's sight, which would be ours. So both moments are noted.
"""

import asyncio
import time
from typing import NamedTuple

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


class Takeovers(NamedTuple):
    """Seconds from the kill, of each orphan: until it was offered again, and until it was claimed."""

    offered: list[float]
    claimed: list[float]


async def taken_over(bed: Bed, orphans: dict[str, int], since: float) -> Takeovers:
    """Wait until each orphan was claimed again, which raises its epoch."""
    left, offered, claimed = dict(orphans), dict[str, float](), []
    while left:
        for row in await bed.rows(_NOW, list(left)):
            passed = round(time.time() - since, 2)
            taken = row["epoch"] > left[row["id"]]
            if taken or row["state"] == "queued":
                offered.setdefault(row["id"], passed)
            # Under its old epoch it has left `running` by its own worker, just before the kill: nobody took it over.
            if taken or row["state"] not in {"running", "queued"}:
                del left[row["id"]]
            if taken:
                claimed.append(passed)
        if time.time() - since > _BOUND_S:
            raise AssertionError(f"not taken over within {_BOUND_S:.0f} s: {left}; offered again after {offered}")
        await asyncio.sleep(0.1)
    return Takeovers([*offered.values()], claimed)
