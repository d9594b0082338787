"""Quotas in force: a tenant's assets, bytes and open uploads, of which each API process leases blocks.

What a process holds of a tenant that makes no requests any more is missed elsewhere, so it is given back.
"""

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

from connectors.postgres.accounts import allowances
from connectors.postgres.accounts.allowances import Lease, Space
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.accounts.plans import Plan
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError

IDLE_S = 180.0
"""A tenant of whom nothing came for so long is forgotten, and what is held in its name given back."""

_BLOCK = Space(100, 1 << 30)
_UPLOADS_COUNTED_S = 1.0
_UPLOADS_RETRY_S = 5.0
_CLOSE_S = 10.0
_CLOSE_AT_ONCE = 4


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
        self.users = 0
        """Requests that hold it or wait for it, or may give back to it what they took."""
        self.used_at = 0.0


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
            with self._used(who) as share:
                taken = await self._take(who, share, Space(1, size))
                try:
                    yield
                except BaseException:
                    _undo(share, taken)
                    raise

    async def ask(self, who: Principal, size: int) -> None:
        """Whether there is room for one asset of `size` bytes now, which stays free, here and at other processes.

        Raises `MedialaneError(quota_exceeded)`.
        """
        need = Space(1, size)
        with self._used(who) as share:
            async with self._locked(who, share):
                if not _is_limited(who.plan) or share.lease.space.covers(need):
                    return
                async with self._database.tenant(who.tenant_id) as connection:
                    share.lease, used = await allowances.find_used(
                        connection, who.tenant_id, who.plan, held=share.lease
                    )
                used = used.minus(share.lease.space)
                if not _has_room(who.plan, used, need):
                    raise _no_room(who.plan, used, need)

    @asynccontextmanager
    async def upload(self, who: Principal) -> AsyncIterator[None]:
        """Let in one more open upload, whose row the body writes. Raises `MedialaneError(too_many_uploads)`."""
        most = who.plan.max_uploads
        if most is None:
            yield
            return
        with self._used(who) as share:
            async with self._locked(who, share):
                await self._take_upload(who.tenant_id, most, share)
            try:
                yield
            finally:
                share.opening -= 1

    async def forget_idle(self, idle_s: float = IDLE_S) -> int:
        """Give back what tenants hold of whom nothing came for so long, and forget them; how many.

        One at a time, as row-level security has it: so a round takes no more than one connection, for however long.
        Raises `MedialaneError(database_unavailable)`; the others' turn is the next round.
        """
        before, count = time.monotonic() - idle_s, 0
        for tenant_id, share in list(self._shares.items()):
            if share.users or share.used_at > before:
                continue
            async with share.lock:
                await self._drop(tenant_id, share)
            if not share.users:  # or else somebody came meanwhile
                del self._shares[tenant_id]
                count += 1
        return count

    async def close(self) -> None:
        """Return what was leased and not used. What is not done soon, or fails, is there again after the next count."""
        shares = iter(list(self._shares.items()))

        async def drop() -> None:
            for tenant_id, share in shares:
                with contextlib.suppress(MedialaneError):
                    await self._drop(tenant_id, share)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S), asyncio.TaskGroup() as group:
                for _ in range(_CLOSE_AT_ONCE):
                    group.create_task(drop())

    @contextmanager
    def _used(self, who: Principal) -> Iterator[_Share]:
        """The tenant's share, which is not forgotten meanwhile."""
        share = self._shares[who.tenant_id]
        share.users += 1
        try:
            yield share
        finally:
            share.users -= 1
            share.used_at = time.monotonic()

    async def _take(self, who: Principal, share: _Share, need: Space) -> Lease:
        """Returns what was taken of the quota: nothing, if the plan has none."""
        plan = who.plan
        async with self._locked(who, share):
            if not _is_limited(plan):
                return Lease()
            await self._take_space(who.tenant_id, plan, share, need)
            return Lease(need, share.lease.terms)

    @asynccontextmanager
    async def _locked(self, who: Principal, share: _Share) -> AsyncIterator[None]:
        """The share is ours, and nothing of it is held under another plan any more."""
        async with share.lock:
            if share.plan != who.plan:
                await self._drop(who.tenant_id, share)
                share.plan = who.plan
            yield

    async def _drop(self, tenant_id: UUID, share: _Share) -> None:
        """Give up what is held; whether it still is among what is used, the row knows."""
        share.uploads = 0
        if any(share.lease.space):
            async with self._database.tenant(tenant_id) as connection:
                # Before it is asked for: an answer that is lost may have been a yes. And what comes back, comes after.
                lease, share.lease = share.lease, share.lease._replace(space=Space())
                await allowances.end_lease(connection, tenant_id, lease)

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


def _undo(share: _Share, taken: Lease) -> None:
    if share.lease.terms == taken.terms:  # or else it was counted since, without this asset
        share.lease = share.lease._replace(space=share.lease.space.plus(taken.space))


def _is_limited(plan: Plan) -> bool:
    return plan.max_assets is not None or plan.max_bytes is not None


def _has_room(plan: Plan, used: Space, need: Space) -> bool:
    """`used`: by others than who asks."""
    after = used.plus(need)
    return (plan.max_assets is None or after.assets <= plan.max_assets) and (
        plan.max_bytes is None or after.bytes <= plan.max_bytes
    )


def _no_room(plan: Plan, used: Space, need: Space) -> MedialaneError:
    if plan.max_assets is not None and used.assets + need.assets > plan.max_assets:
        detail = f"The plan allows {plan.max_assets} assets; there are {used.assets}."
    else:
        detail = f"The plan allows {plan.max_bytes} bytes; {used.bytes} are used and {need.bytes} were asked for."
    return MedialaneError(ErrorCode.QUOTA_EXCEEDED, detail)
