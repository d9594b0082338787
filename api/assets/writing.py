"""Changing, cancelling and deleting assets, and having them processed again."""

from uuid import UUID

from api.announcing import check_metadata
from api.assets.models import AssetChange
from api.envelope import Done
from api.idempotency import Keep
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import change_asset
from connectors.postgres.database import Database
from connectors.postgres.protocol.cancel import cancel_asset, delete_asset
from connectors.postgres.protocol.replay import process_again
from schemas.errors import ErrorCode, MedialaneError


class AssetWriter:
    """Changes a tenant's assets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change(self, who: Principal, asset_id: UUID, wanted: AssetChange) -> None:
        """Replace metadata or tags. Raises `MedialaneError`: not_found, invalid_request for too much metadata.

        The audit log says nothing of it, as of uploads: it would have an entry for each of as many as anybody asks for.
        """
        check_metadata(wanted.metadata or {})
        async with self._database.tenant(who.tenant_id) as connection:
            tags = None if wanted.tags is None else tuple(dict.fromkeys(wanted.tags))
            if not await change_asset(connection, who.tenant_id, asset_id, metadata=wanted.metadata, tags=tags):
                raise MedialaneError(ErrorCode.NOT_FOUND)

    async def cancel(self, who: Principal, asset_id: UUID, keep: Keep[Done], *, traceparent: str | None) -> Done:
        """Stop what is being done. Raises `MedialaneError`: not_found, conflict if there is nothing to stop."""
        done = Done(message="Asset cancelled")
        async with self._database.tenant(who.tenant_id) as connection:
            await cancel_asset(connection, who.tenant_id, asset_id, actor=who.actor, traceparent=traceparent)
            await keep(connection, done)
        return done

    async def process(self, who: Principal, asset_id: UUID, keep: Keep[Done], *, traceparent: str | None) -> Done:
        """Process it anew. Raises `MedialaneError`: not_found, conflict while it is under way, or was never sent."""
        done = Done(message="Asset is processed again")
        async with self._database.tenant(who.tenant_id) as connection:
            await process_again(connection, who.tenant_id, asset_id, actor=who.actor, traceparent=traceparent)
            await keep(connection, done)
        return done

    async def delete(self, who: Principal, asset_id: UUID, *, traceparent: str | None) -> None:
        """Make an asset gone; its objects are removed later. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(who.tenant_id) as connection:
            await delete_asset(connection, who.tenant_id, asset_id, actor=who.actor, traceparent=traceparent)
