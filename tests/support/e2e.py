"""A whole Medialane for end-to-end tests: one more stack per run, since these tests kill its parts.

Tests that only use it share it; a test that kills something has it to itself (a lock over all pytest workers).
"""

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import boto3

from cli.client import Asset, MedialaneClient
from cli.harness.onboarding import Tenant
from cli.harness.platform import Platform
from cli.harness.receiver import Receiver
from cli.harness.rows import AssetRows, EventRow
from cli.harness.running import platform_of
from cli.stack import Stack
from cli.stack.names import ALL
from connectors.postgres.accounts.keys import mint_key
from connectors.postgres.accounts.profile_sets import save_choice
from connectors.postgres.accounts.tenants import create_tenant
from connectors.postgres.database import Database
from schemas.events import EVENT_TYPES
from schemas.ids import uuid7
from schemas.profile_sets import ProfileChoice
from schemas.scopes import DEFAULT_SCOPES
from support import stack as shared

PATIENCE_S = 150.0
TERMINAL = ("asset.ready", "asset.failed")


def folder_for(controller: int) -> Path:
    """The folder of the run's end-to-end stack."""
    return shared.runs_own(controller, "e2e")


def whole_stack(controller: int) -> Stack:
    """The run's end-to-end stack with every process of Medialane; started by whoever asks first."""
    return shared.acquire(folder_for(controller), controller, ALL)


@contextmanager
def turn(stack: Stack, *, alone: bool) -> Iterator[None]:
    """Hold the stack with the others, or alone; every part runs again afterwards."""
    with (stack.folder / "turn.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:
            if alone:
                stack.ensure(ALL)


async def eventually(holds: Callable[[], Awaitable[object]], what: str, patience_s: float = PATIENCE_S) -> None:
    """Ask again and again until it holds; fails with `what` when patience ends."""
    try:
        async with asyncio.timeout(patience_s):
            while not await holds():  # noqa: ASYNC110 - what is asked for happens in other processes
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {patience_s:.0f} s: {what}") from None


@dataclass(frozen=True)
class Actor:
    """A tenant of a test's own with everything it needs: client, receiver, and a look into the database."""

    platform: Platform
    tenant: Tenant
    client: MedialaneClient
    receiver: Receiver
    ledger: AssetRows
    secret: str

    async def upload(self, name: str, content_type: str, content: bytes) -> UUID:
        """Presign, PUT, complete."""
        return await self.client.upload(name, content_type, content)

    async def ready(self, asset_id: UUID) -> Asset:
        """The asset, once it is ready and nothing more will happen to it."""
        return await self.client.wait_settled(asset_id, timeout_s=PATIENCE_S)

    async def failed(self, asset_id: UUID) -> Asset:
        """The asset, once it has failed."""
        asset = await self.client.wait_terminal(asset_id, timeout_s=PATIENCE_S)
        assert asset.state == "failed", f"ended {asset.state}"
        return asset

    async def told(self, asset_id: UUID) -> list[EventRow]:
        """The asset's events, once the receiver has heard of every one of them."""
        events = await self.ledger.events(asset_id)

        def heard(_: object) -> bool:
            return len({one.message_id for one in self.receiver.about(asset_id)}) >= len(events)

        await self.receiver.wait_for(heard, PATIENCE_S)
        return events

    def objects(self) -> list[str]:
        """The keys of the tenant's variants in the object store."""
        env = self.platform.env
        client = boto3.client(
            "s3",
            endpoint_url=env["MEDIALANE_S3_ENDPOINT"],
            region_name="us-east-1",
            aws_access_key_id=env["MEDIALANE_S3_ACCESS_KEY"],
            aws_secret_access_key=env["MEDIALANE_S3_SECRET_KEY"],
        )
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=env["MEDIALANE_S3_BUCKET"], Prefix=f"media/{self.tenant.id}/"
        )
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    async def finished_once(self, asset: Asset) -> None:
        """One terminal event, one job that is done, one `job.done`, one object per variant; seq without gaps."""
        types = [event.type for event in await self.ledger.events(asset.id)]
        assert [kind for kind in types if kind in TERMINAL] == ["asset.ready"]
        jobs = await self.ledger.jobs(asset.id)
        assert types.count("job.done") == types.count("job.started") == len(jobs)
        assert types.count("variant.ready") == len(asset.variants)
        assert {job.state for job in jobs} == {"done"}
        assert len({job.stage for job in jobs}) == len(jobs)
        profiles = [variant.profile for variant in asset.variants]
        assert len(set(profiles)) == len(profiles)
        assert [entry.seq for entry in asset.timeline] == list(range(1, len(types) + 1))


FIRST_STAGE = ProfileChoice(include=("webp", "clips"))
"""Three variants of everything, made by one job."""


async def quick_tenant(database: Database, name: str, profiles: ProfileChoice = FIRST_STAGE) -> Tenant:
    """What `medialane tenants create` and `keys mint` do, without starting two interpreters for every test."""
    slug = f"{name}-{uuid7().hex[-8:]}"
    async with database.transaction() as connection:
        made = await create_tenant(connection, slug)
        await save_choice(connection, made.id, profiles)
        key = await mint_key(connection, made.id, name="", scopes=DEFAULT_SCOPES, expires_at=None)
    return Tenant(id=made.id, slug=slug, api_key=key.text)


@asynccontextmanager
async def actor(
    stack: Stack,
    *,
    name: str = "e2e",
    events: tuple[str, ...] = tuple(EVENT_TYPES),
    profiles: ProfileChoice = FIRST_STAGE,
) -> AsyncIterator[Actor]:
    """A tenant with an API key, and an endpoint on a receiver of its own."""
    platform = platform_of(stack)
    async with contextlib.AsyncExitStack() as scope:
        receiver = await scope.enter_async_context(Receiver())
        database = await scope.enter_async_context(Database(platform.database, application="e2e"))
        tenant = await quick_tenant(database, name, profiles)
        client = await scope.enter_async_context(MedialaneClient(platform.api_url, tenant.api_key))
        endpoint = await client.register_webhook(receiver.url(), list(events))
        assert endpoint.secret is not None
        yield Actor(platform, tenant, client, receiver, AssetRows(database), endpoint.secret)
