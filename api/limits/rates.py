"""Plans in force: request rates (here) and quotas, shared by all API processes, which lease blocks from the database.

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

import structlog

from api.limits.quotas import IDLE_S, Quotas
from api.periodic import every
from connectors.postgres.accounts import allowances
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.accounts.plans import Plan
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError

_log = structlog.get_logger(__name__)

_LARGEST_BLOCK = 500
_BLOCK_S = 0.1
"""A block of tokens lasts a tenth of a second at the plan's rate: what a process may hold that others lack."""

_ROUND_S = 60.0


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
        """What was left for all processes at `told_at`. What flows in since is not known, but no more than the rate."""
        self.told_at = -math.inf
        self.used_at = 0.0


class RateLimiter:
    """Token buckets, one per tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._buckets: dict[UUID, _Bucket] = defaultdict(_Bucket)

    async def pay(self, who: Principal, items: int, *, field: str | None = None) -> Standing | None:
        """Pay for the items of a batch but for one, which the request itself has paid for. None: the plan has no rate.

        Raises `MedialaneError`: rate_limited if there are not so many tokens now, invalid_request for more items than
        the bucket ever holds.
        """
        rate, burst = who.plan.requests_per_s, who.plan.request_burst
        if rate is None or burst is None or items <= 1:
            return None
        if items > burst:
            detail = f"The plan allows {burst} at once, and each of these counts: send {burst} at most together."
            raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field=field)
        standing = await self.take(who, items - 1)
        if standing is not None and standing.wait_s > 0:
            detail = f"The plan allows {rate} requests per second, {burst} at once; each of these {items} counts."
            again_s = standing.wait_s + 1 / rate  # with what the request that comes again pays by itself
            raise MedialaneError(ErrorCode.RATE_LIMITED, detail, retry_after_s=again_s)
        return standing

    async def take(self, who: Principal, tokens: int = 1) -> Standing | None:
        """Pay so many tokens, if they are there, or else none. None: the plan has no rate."""
        plan = who.plan
        rate, burst = plan.requests_per_s, plan.request_burst
        if rate is None or burst is None:
            return None
        bucket = self._buckets[who.tenant_id]
        bucket.used_at = time.monotonic()
        while bucket.held < tokens:
            async with bucket.lock:
                lacks = bucket.held < tokens
                wait_s = await self._lease(who.tenant_id, plan, bucket, rate, burst, tokens) if lacks else 0.0
            if wait_s > 0:
                return Standing(burst, rate, bucket.held, wait_s)
        bucket.held -= tokens
        return Standing(burst, rate, bucket.held + int(bucket.shared))

    def forget_idle(self, idle_s: float = IDLE_S) -> int:
        """Forget tenants of whom nothing came for so long; how many. Their tokens flow back by themselves."""
        before = time.monotonic() - idle_s
        idle = [key for key, one in self._buckets.items() if one.used_at <= before and not one.lock.locked()]
        for tenant_id in idle:
            del self._buckets[tenant_id]
        return len(idle)

    async def _lease(self, tenant_id: UUID, plan: Plan, bucket: _Bucket, rate: int, burst: int, tokens: int) -> float:
        """Fill the block; returns how long to wait, seconds, if there are not so many then (0: there are).

        A batch that is refused takes nothing: what is there is for the single requests, at other processes, too.
        """
        now, lacking = time.monotonic(), tokens - bucket.held
        if bucket.shared + (now - bucket.told_at) * rate >= lacking:
            block = max(1, min(int(rate * _BLOCK_S), burst // 10, _LARGEST_BLOCK))
            async with self._database.tenant(tenant_id) as connection:
                found = await allowances.lease_tokens(connection, tenant_id, plan, max(block, lacking), least=lacking)
            bucket.held, bucket.shared, bucket.told_at = bucket.held + max(found.granted, 0), found.left, now
            if bucket.held >= tokens:
                return 0.0
        return max((lacking - bucket.shared) / rate - (now - bucket.told_at), 0.001)


@asynccontextmanager
async def kept(limiter: RateLimiter, quotas: Quotas) -> AsyncIterator[None]:
    """Forget idle tenants now and then, and return what is left at the end."""

    async def forget() -> None:
        limiter.forget_idle()
        try:
            await quotas.forget_idle()
        except MedialaneError as error:
            _log.warning("room of idle tenants not given back", code=error.code)

    try:
        async with every(_ROUND_S, forget):
            yield
    finally:
        await quotas.close()
