"""`medialane assets verify`: variants whose objects are gone from the store, and their rows out of the way."""

import asyncio
import math
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

import click
import msgspec

from cli.common.ages import WHEN, Pace
from cli.common.database import worker_database
from connectors.objectstore.port import ObjectStore, pages
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres import audit
from connectors.postgres.accounts.tenants import Tenant, find_tenant, list_tenants
from connectors.postgres.assets import variants
from connectors.postgres.assets.purge import content_prefix
from connectors.postgres.assets.variants import Kept
from connectors.postgres.database import Database
from schemas.settings import ObjectStoreSettings, load
from streams.bucket import Bucket

_PAGE = 200  # contents
_AT_ONCE = 8  # requests to the store


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that lacks an object; `source`: its upload is there; `forgotten`: its row is deleted."""

    tenant: str
    asset_id: UUID
    profile: str
    profile_version: int
    object_key: str
    source: bool
    forgotten: bool


@click.command("verify")
@click.option("--tenant", help="Only of this tenant (its slug).")
@click.option("--since", type=WHEN, metavar="AGE", help="Only of assets made since: 12h, 30d, an ISO date.")
@click.option("--apply", "apply_it", is_flag=True, help="Delete rows; without this, only say what is gone.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def verify_assets(tenant: str | None, since: datetime | None, *, apply_it: bool, as_json: bool) -> None:
    """Operators: find variants whose objects are gone from the store. Nothing is changed without --apply.

    With it, their rows are deleted, so that `medialane reprocess` makes them again, profile by profile. The row of a
    variant whose upload is gone, too, is left: there is nothing to make it of. The exit code is 1 if anything is gone.

    Needs MEDIALANE_DATABASE_URL (worker role) and MEDIALANE_S3_*, not the API.
    """
    gone = asyncio.run(_verify(tenant, since, apply_it=apply_it))
    if as_json:
        click.echo(msgspec.json.encode(gone).decode())
    else:
        for one in gone:
            left = "" if one.source else "  its upload is gone, too"
            click.echo(f"{one.tenant}  {one.asset_id}  {one.profile} v{one.profile_version}  {one.object_key}{left}")
        done = f", {sum(one.forgotten for one in gone)} rows deleted" if apply_it else ""
        click.echo(f"{len(gone)} variants are gone from the store{done}", err=True)
        if gone and not apply_it:
            click.echo("Nothing was changed: say --apply.", err=True)
    if gone:
        sys.exit(1)


async def _verify(slug: str | None, since: datetime | None, *, apply_it: bool) -> list[Gone]:
    gone: list[Gone] = []
    async with (
        worker_database() as database,
        S3ObjectStore(load(ObjectStoreSettings, os.environ)) as store,
    ):
        await Bucket(database, store).check()
        async with database.transaction() as connection:
            tenants = [await find_tenant(connection, slug)] if slug else await list_tenants(connection)
            total = await variants.count_contents(connection, [tenant.id for tenant in tenants])
        looking, pace = _Look(database, store, since, apply_it=apply_it), Pace(math.inf, total)
        for tenant in tenants:
            gone += await looking.through(tenant, pace)
    return gone


class _Look:
    """A look through the contents of tenants."""

    def __init__(self, database: Database, store: ObjectStore, since: datetime | None, *, apply_it: bool) -> None:
        self._database = database
        self._store = store
        self._since = since
        self._apply_it = apply_it
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def through(self, tenant: Tenant, pace: Pace) -> list[Gone]:
        """All that is gone of a tenant's, content by content."""
        gone: list[Gone] = []
        contents: list[bytes] = [b""]
        while contents:
            async with self._database.transaction() as connection:
                contents = await variants.next_contents(connection, tenant.id, after=contents[-1], limit=_PAGE)
                kept = await variants.kept(connection, tenant.id, contents, since=self._since)
            gone += await self._judge(tenant, kept)
            for _ in contents:
                await pace.step()
        return gone

    async def _judge(self, tenant: Tenant, kept: Sequence[Kept]) -> list[Gone]:
        by_content = sorted(kept, key=_content)
        stored = await asyncio.gather(*(self._stored(tenant.id, sha256) for sha256, _ in groupby(by_content, _content)))
        keys = frozenset().union(*stored)
        lost = [one for one in kept if not keys.issuperset(one.variant.object_keys())]
        if not lost:
            return []
        sources = await asyncio.gather(*(self._is_there(key) for key in {one.source for one in lost}))
        there = {key for key in sources if key is not None}
        return await self._settle(tenant, lost, there)

    async def _stored(self, tenant_id: UUID, sha256: bytes) -> set[str]:
        async with self._limit:
            prefix = content_prefix(tenant_id, sha256)
            return {found.key async for page in pages(self._store, prefix) for found in page}

    async def _is_there(self, key: str) -> str | None:
        async with self._limit:
            return None if await self._store.head(key) is None else key

    async def _settle(self, tenant: Tenant, lost: Sequence[Kept], sources: set[str]) -> list[Gone]:
        """Delete the rows of what can be made again, if that is wanted.

        What was made again, or deleted, since it was looked at is not gone.
        """
        async with self._database.transaction() as connection:
            still = await variants.unchanged(connection, lost)
            gone = [one for one in lost if one.id in still]
            going = [one for one in gone if self._apply_it and one.source in sources]
            await variants.forget(connection, [one.id for one in going])
            for asset_id, some in groupby(going, lambda one: one.asset_id):
                await audit.note(
                    connection, actor=audit.operator(), action="assets.verify", tenant_id=tenant.id,
                    subject=str(asset_id), detail={"keys": [one.variant.object_key for one in some]},
                )  # fmt: skip
        forgotten = {one.id for one in going}
        return [
            Gone(
                tenant=tenant.slug,
                asset_id=one.asset_id,
                profile=one.variant.profile,
                profile_version=one.variant.profile_version,
                object_key=one.variant.object_key,
                source=one.source in sources,
                forgotten=one.id in forgotten,
            )
            for one in gone
        ]


def _content(one: Kept) -> bytes:
    return one.variant.content_sha256
