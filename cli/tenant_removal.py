"""`medialane tenants delete`: a tenant with its rows and objects."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import worker_database
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres import audit
from connectors.postgres.accounts import removal as tenant_removal
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.database import Database
from schemas.settings import ObjectStoreSettings, load

_BATCH = 200


class Removed(msgspec.Struct, kw_only=True):
    """What a tenant has, and what was removed of it unless it was a dry run; objects are counted as they go."""

    assets: int
    bytes: int
    keys: int
    webhooks: int
    objects: int = 0


@click.command("delete")
@click.argument("slug")
@click.option("--apply", "apply_it", is_flag=True, help="Remove; without this, only say what would be.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as a JSON object.")
def delete(slug: str, *, apply_it: bool, as_json: bool) -> None:
    """Delete the tenant SLUG: nobody is let in any more, and its rows and objects go for good. Only with --apply.

    May be interrupted and repeated. What running workers or open upload addresses still store after it is found by the
    keeper's sweep. The audit log keeps what was done; Kafka's topics keep their records for their retention.
    """
    found = asyncio.run(_delete(slug, apply_it=apply_it))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    objects = f", {found.objects} objects" if apply_it else ""
    click.echo(
        f"{'removed' if apply_it else 'would remove'} tenant {slug}: {found.assets} assets ({found.bytes:,} bytes "
        f"announced){objects}, {found.keys} keys, {found.webhooks} webhooks"
    )
    if not apply_it:
        click.echo("Nothing was removed: say --apply.", err=True)


async def _delete(slug: str, *, apply_it: bool) -> Removed:
    async with (
        worker_database() as database,
        S3ObjectStore(load(ObjectStoreSettings, os.environ)) as store,
    ):
        async with database.transaction() as connection:
            tenant = await find_tenant(connection, slug)
            found = Removed(**(await tenant_removal.holdings(connection, tenant.id))._asdict())
        if apply_it:
            await _Removal(database, store, tenant.id, slug, found).run()
        return found


class _Removal:
    def __init__(self, database: Database, store: S3ObjectStore, tenant_id: UUID, slug: str, found: Removed) -> None:
        self._database = database
        self._store = store
        self._tenant_id = tenant_id
        self._slug = slug
        self._found = found
        self._gone = 0

    async def run(self) -> None:
        async with self._database.transaction() as connection:
            await tenant_removal.shut_out(connection, self._tenant_id)
            await self._note(connection, "tenant.shut_out", {})
        await self._belongings()
        while not await self._tenant():
            await self._belongings()  # of a request that was let in before

    async def _belongings(self) -> None:
        while count := await self._assets():
            self._gone += count
            click.echo(f"{self._gone} of {self._found.assets} assets", err=True)
        for forget in (tenant_removal.forget_deliveries, tenant_removal.forget_contents):
            while await self._some(forget):
                pass
        for prefix in (f"uploads/{self._tenant_id}/", f"media/{self._tenant_id}/"):
            while page := await self._store.list_page(prefix):
                for item in page:
                    await self._store.delete(item.key)
                self._found.objects += len(page)
                click.echo(f"{self._found.objects} objects", err=True)

    async def _tenant(self) -> bool:
        async with self._database.transaction() as connection:
            forgotten = await tenant_removal.forget_tenant(connection, self._tenant_id)
            if forgotten:
                await self._note(connection, "tenant.delete", msgspec.structs.asdict(self._found))
        return forgotten

    async def _assets(self) -> int:
        async with self._database.transaction() as connection:
            held = await tenant_removal.next_assets(connection, self._tenant_id, limit=_BATCH)
        for asset in held:
            # Before its row goes: nobody else knows the parts of an upload.
            if asset.upload_id is not None:
                await self._store.abort_multipart(asset.object_key, asset.upload_id)
        async with self._database.transaction() as connection:
            await tenant_removal.forget_assets(connection, held)
        return len(held)

    async def _some(self, forget: Callable[..., Awaitable[int]]) -> int:
        async with self._database.transaction() as connection:
            return await forget(connection, self._tenant_id, limit=_BATCH)

    async def _note(self, connection: AsyncConnection, action: str, detail: dict[str, object]) -> None:
        await audit.note(
            connection, actor=audit.operator(), action=action, tenant_id=self._tenant_id, subject=self._slug,
            detail=detail,
        )  # fmt: skip
