"""Plans in force: request rates and quotas, shared by all API processes, which lease blocks from the database.

A process answers most requests from a block that it holds. A refusal is remembered until something can have changed,
so that a tenant over its limit does not load the database either.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

from connectors.postgres import allowances
from connectors.postgres.allowances import Lease, Space
from connectors.postgres.database import Database
from connectors.postgres.keys import Principal
from connectors.postgres.plans import Plan
from schemas.errors import ErrorCode, MedialaneError

_LARGEST_BLOCK = 500
_BLOCK_S = 0.1
"""A block of tokens lasts a tenth of a second at the plan's rate: what a process may hold that others lack."""

_BLOCK = Space(100, 1 << 30)
_UPLOADS_COUNTED_S = 1.0
_UPLOADS_RETRY_S = 5.0


class Standing(NamedTuple):
    """Where a tenant stands with its request rate: the bucket's size and rate, what is left in it.

    `wait_s` above 0: this request is refused, and another one for so long.
    """

    burst: int
    rate: int
    left: int
    wait_s: float = 0.0

    @property
    def refusal(self) -> MedialaneError:
        """What a refused caller is told."""
        detail = f"The plan allows {self.rate} requests per second, {self.burst} at once."
        return MedialaneError(ErrorCode.RATE_LIMITED, detail, retry_after_s=self.wait_s)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`RateLimit` and `RateLimit-Policy`, as the IETF's draft has them: a quota `q` per window `w`, `r` left."""
        window, reset = math.ceil(self.burst / self.rate), math.ceil((self.burst - self.left) / self.rate)
        return [
            (b"ratelimit-policy", f'"requests";q={self.burst};w={window}'.encode()),
            (b"ratelimit", f'"requests";r={self.left};t={reset}'.encode()),
        ]


class _Bucket:
    """A tenant's block of tokens in this process."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.held = 0
        self.shared = 0.0
        self.refused_until = 0.0


class RateLimiter:
    """Token buckets, one per tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._buckets: dict[UUID, _Bucket] = defaultdict(_Bucket)

    async def take(self, who: Principal) -> Standing | None:
        """Pay one token, if there is one. None: the plan has no rate."""
        plan = who.plan
        rate, burst = plan.requests_per_s, plan.request_burst
        if rate is None or burst is None:
            return None
        bucket = self._buckets[who.tenant_id]
        while bucket.held < 1:
            async with bucket.lock:
                wait_s = 0.0 if bucket.held > 0 else await self._lease(who.tenant_id, plan, bucket, rate, burst)
            if wait_s > 0:
                return Standing(burst, rate, 0, wait_s)
        bucket.held -= 1
        return Standing(burst, rate, bucket.held + int(bucket.shared))

    async def _lease(self, tenant_id: UUID, plan: Plan, bucket: _Bucket, rate: int, burst: int) -> float:
        """Fill the block; returns how long to wait, seconds, if there is nothing (0: there is)."""
        now = time.monotonic()
        if bucket.refused_until <= now:
            wanted = max(1, min(int(rate * _BLOCK_S), burst // 10, _LARGEST_BLOCK))
            async with self._database.tenant(tenant_id) as connection:
                granted = await allowances.lease_tokens(connection, tenant_id, plan, wanted)
            bucket.held, bucket.shared = granted.granted, granted.left
            if granted.granted > 0:
                return 0.0
            bucket.refused_until = now + (1 - granted.left) / rate
        return max(bucket.refused_until - now, 0.001)


class _Share:
    """What a process holds of a tenant's quota, under the plan by which it took it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.plan: Plan | None = None
        self.lease = Lease()
        self.uploads = 0
        self.uploads_until = 0.0
        self.opening = 0
        """Uploads that were let in and whose rows may not be there yet: a count may miss them."""


class Quotas:
    """Assets, bytes and open uploads, one share per tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shares: dict[UUID, _Share] = defaultdict(_Share)

    @asynccontextmanager
    async def taken(self, who: Principal, size: int) -> AsyncIterator[None]:
        """Make room for one asset of `size` bytes, whose upload begins; it is given back if the body raises.

        Raises `MedialaneError`: quota_exceeded, too_many_uploads.
        """
        async with self.upload(who):
            taken = await self._take(who, Space(1, size))
            try:
                yield
            except BaseException:
                self._undo(who.tenant_id, taken)
                raise

    @asynccontextmanager
    async def upload(self, who: Principal) -> AsyncIterator[None]:
        """Let in one more open upload, whose row the body writes. Raises `MedialaneError(too_many_uploads)`."""
        most = who.plan.max_uploads
        if most is None:
            yield
            return
        async with self._locked(who) as share:
            await self._take_upload(who.tenant_id, most, share)
        try:
            yield
        finally:
            share.opening -= 1

    async def _take(self, who: Principal, need: Space) -> Lease:
        """Returns what was taken of the quota: nothing, if the plan has none."""
        plan = who.plan
        async with self._locked(who) as share:
            if plan.max_assets is None and plan.max_bytes is None:
                return Lease()
            await self._take_space(who.tenant_id, plan, share, need)
            return Lease(need, share.lease.terms)

    @asynccontextmanager
    async def _locked(self, who: Principal) -> AsyncIterator[_Share]:
        """The share, of which nothing is held under another plan any more."""
        share = self._shares[who.tenant_id]
        async with share.lock:
            if share.plan != who.plan:
                await self._drop(who.tenant_id, share)
                share.plan = who.plan
            yield share

    def _undo(self, tenant_id: UUID, taken: Lease) -> None:
        share = self._shares[tenant_id]
        if share.lease.terms == taken.terms:  # or else it was counted since, without this asset
            share.lease = share.lease._replace(space=share.lease.space.plus(taken.space))

    async def _drop(self, tenant_id: UUID, share: _Share) -> None:
        """Give up what is held; whether it still is among what is used, the row knows."""
        lease, share.lease = share.lease, share.lease._replace(space=Space())
        share.uploads = 0
        if any(lease.space):
            async with self._database.tenant(tenant_id) as connection:
                await allowances.end_lease(connection, tenant_id, lease)

    async def close(self) -> None:
        """Return what was leased and not used."""
        for tenant_id, share in self._shares.items():
            await self._drop(tenant_id, share)

    async def _take_upload(self, tenant_id: UUID, most: int, share: _Share) -> None:
        now = time.monotonic()
        if share.uploads_until <= now:
            share.uploads = 0
        if share.uploads < 1:
            unsure = share.opening  # as it is before the count: those whose rows come during it count, too
            async with self._database.tenant(tenant_id) as connection:
                found = await allowances.count_open_uploads(connection, tenant_id, most=most)
            # A part of the room only: other processes count the same rows.
            share.uploads, share.uploads_until = math.ceil((most - found - unsure) / 8), now + _UPLOADS_COUNTED_S
        if share.uploads < 1:
            detail = f"The plan allows {most} open uploads at a time; complete some first."
            raise MedialaneError(ErrorCode.TOO_MANY_UPLOADS, detail, retry_after_s=_UPLOADS_RETRY_S)
        share.uploads -= 1
        share.opening += 1

    async def _take_space(self, tenant_id: UUID, plan: Plan, share: _Share, need: Space) -> None:
        if not share.lease.space.covers(need):
            async with self._database.tenant(tenant_id) as connection:
                lease, used = await allowances.lease_space(
                    connection, tenant_id, plan, held=share.lease, need=need, block=_BLOCK
                )
            share.lease = lease
            if not share.lease.space.covers(need):
                raise _no_room(plan, used.minus(share.lease.space), need)
        share.lease = share.lease._replace(space=share.lease.space.minus(need))


def _no_room(plan: Plan, used: Space, need: Space) -> MedialaneError:
    if plan.max_assets is not None and used.assets + need.assets > plan.max_assets:
        detail = f"The plan allows {plan.max_assets} assets; there are {used.assets}."
    else:
        detail = f"The plan allows {plan.max_bytes} bytes; {used.bytes} are used and {need.bytes} were asked for."
    return MedialaneError(ErrorCode.QUOTA_EXCEEDED, detail)
