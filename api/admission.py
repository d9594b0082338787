"""Whether an announced upload is let in: what it names has to be there, and its tenant to have room for it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from api.profiles.service import ProfileService
from api.quotas import Quotas
from connectors.postgres.assets import NewAsset
from connectors.postgres.keys import Principal


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

    def again(self, who: Principal) -> AbstractAsyncContextManager[None]:
        """Let an upload in that was open no more, by what the body writes; it has its room.

        Raises `MedialaneError(too_many_uploads)`.
        """
        return self._quotas.upload(who)
