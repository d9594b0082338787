"""Whether an announced upload is let in: what it names has to be there, and its tenant to have room for it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from api.limits.quotas import Quotas
from api.profiles.service import ProfileService
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import NewAsset


class Admission:
    """Lets uploads in, whichever way they come."""

    def __init__(self, quotas: Quotas, profiles: ProfileService) -> None:
        self._quotas = quotas
        self._profiles = profiles

    @asynccontextmanager
    async def of(self, who: Principal, asset: NewAsset) -> AsyncIterator[None]:
        """Take the asset's room, which is given back if the body raises.

        Raises `MedialaneError`: profiles_refused, quota_exceeded, too_many_uploads.
        """
        await self._profiles.admit(who.tenant_id, asset)
        async with self._quotas.taken(who, asset.size):
            yield

    async def may_begin(self, who: Principal) -> None:
        """Whether an upload would be let in now of which nothing is known yet; no room is taken. Raises as `of`."""
        async with self._quotas.upload(who):
            await self._quotas.ask(who, 1)

    async def may_have(self, who: Principal, asset: NewAsset) -> None:
        """Whether there would be room for this one now; none is taken. Raises `MedialaneError` as `of`."""
        await self._profiles.admit(who.tenant_id, asset)
        await self._quotas.ask(who, asset.size)

    def again(self, who: Principal) -> AbstractAsyncContextManager[None]:
        """Let an upload in that was open no more, by what the body writes; it has its room.

        Raises `MedialaneError(too_many_uploads)`.
        """
        return self._quotas.upload(who)
