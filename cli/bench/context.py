"""What every kind of measurement gets: the running stack, a tenant of its own, and ways to upload and to wait."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from cli.bench.processes import cpu_seconds
from cli.client import MedialaneClient
from cli.harness.onboarding import Tenant, new_tenant
from cli.harness.platform import Platform
from cli.stack import Stack
from connectors.postgres.accounts.profile_sets import save_choice
from connectors.postgres.database import Database
from processors.bench import COMPARABLE

_STATES = sa.text(
    "SELECT state, count(*) AS n FROM assets WHERE tenant_id = :tenant AND uploaded_at IS NOT NULL GROUP BY 1"
)
_SPAN = sa.text("""
    SELECT max(extract(epoch FROM finished_at)) AS ended, avg(CAST(report ->> 'cpu_s' AS double precision)) AS cpu_s
    FROM jobs WHERE tenant_id = :tenant AND stage LIKE '%.primary'
""")
_UNFINISHED = sa.text("""
    SELECT count(*) FROM jobs WHERE tenant_id = :tenant AND state IN ('waiting', 'queued', 'running')
""")
_UPLOADS_AT_ONCE = 8
_COMPLETES_AT_ONCE = 16
_PATIENCE_S = 600.0
_LOOK_S = 0.5
_AT_REST_CORES = 0.3  # idle, it takes half of that


class BenchError(Exception):
    """Something went wrong that makes a figure meaningless."""


@dataclass(frozen=True)
class Bench:
    """One run. `quick` measures fewer jobs: for trying things out, not for publishing."""

    stack: Stack
    platform: Platform
    quick: bool
    tell: Callable[[str], None]

    def pids(self) -> dict[str, int]:
        """The process id of every running part."""
        return {view.name: view.pid for view in self.stack.status() if view.pid is not None}

    async def tenant(self, name: str) -> Tenant:
        """A tenant of this measurement's own, so that no other one's content is found again; see `COMPARABLE`."""
        tenant = await new_tenant(self.platform.env, f"bench-{name}")
        async with self.database() as database, database.transaction() as connection:
            await save_choice(connection, tenant.id, COMPARABLE)
        return tenant

    def client(self, tenant: Tenant) -> MedialaneClient:
        """The API as that tenant."""
        return MedialaneClient(self.platform.api_url, tenant.api_key)

    def database(self) -> Database:
        """The database as the worker role."""
        return Database(self.platform.database, application="bench")


async def upload_only(client: MedialaneClient, name: str, content_type: str, contents: Sequence[bytes]) -> list[UUID]:
    """Presign and PUT, without complete: nothing is processed yet."""
    limit = asyncio.Semaphore(_UPLOADS_AT_ONCE)

    async def one(index: int, content: bytes) -> UUID:
        async with limit:
            presigned = await client.presign(f"{index}-{name}", content_type, len(content))
            await client.put(presigned, content, content_type)
            return presigned.asset_id

    return list(await asyncio.gather(*(one(index, content) for index, content in enumerate(contents))))


async def at_rest(bench: Bench) -> None:
    """Wait until the stack does nothing but wait itself: what led up to a measurement is not to be in it."""
    async with asyncio.timeout(_PATIENCE_S):
        while await _cores_used(bench) > _AT_REST_CORES:
            pass


async def _cores_used(bench: Bench) -> float:
    pids, began = bench.pids(), time.monotonic()
    before = cpu_seconds(pids)
    await asyncio.sleep(_LOOK_S)
    after = cpu_seconds(pids)
    return sum(after[name] - before[name] for name in before if name in after) / (time.monotonic() - began)


async def process_all(
    bench: Bench, tenant: Tenant, client: MedialaneClient, assets: Sequence[UUID]
) -> tuple[float, float]:
    """Complete everything at once and wait until all is ready.

    Returns the seconds from the first complete to the end of the last primary job, and the children's CPU seconds per
    primary job; what follows those has ended, too, and left the machine quiet.
    Raises `BenchError` if one asset fails.
    """
    limit = asyncio.Semaphore(_COMPLETES_AT_ONCE)

    async def complete(asset_id: UUID) -> None:
        async with limit:
            await client.complete(asset_id)

    began = time.time()
    await asyncio.gather(*(complete(asset_id) for asset_id in assets))
    async with bench.database() as database:
        await _until_ready(bench, database, tenant, len(assets))
        async with database.transaction() as connection:
            row = (await connection.execute(_SPAN, {"tenant": tenant.id})).one()
        await _until_quiet(bench, database, tenant)
    return float(row.ended) - began, float(row.cpu_s)


async def _until_quiet(bench: Bench, database: Database, tenant: Tenant) -> None:
    told = time.monotonic()
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            async with database.transaction() as connection:
                left = (await connection.execute(_UNFINISHED, {"tenant": tenant.id})).scalar_one()
            if not left:
                return
            if time.monotonic() - told > 2:
                bench.tell(f"  {left} jobs of later stages to go")
                told = time.monotonic()
            await asyncio.sleep(0.2)


async def _until_ready(bench: Bench, database: Database, tenant: Tenant, wanted: int) -> None:
    told = time.monotonic()
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            async with database.transaction() as connection:
                rows = (await connection.execute(_STATES, {"tenant": tenant.id})).all()
            states = {row.state: row.n for row in rows}
            if states.get("failed"):
                raise BenchError(f"{states['failed']} of {wanted} jobs failed; the worker's log says why")
            if states.get("ready", 0) >= wanted:
                return
            if time.monotonic() - told > 2:
                bench.tell(f"  {states.get('ready', 0)} of {wanted} ready")
                told = time.monotonic()
            await asyncio.sleep(0.5)  # ends are taken from the rows: looking more often would cost cores for nothing
