"""The stack of a run with all that belongs to it: proxy, receiver, tenants with endpoints, a versioned bucket."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import boto3
import psycopg
from psycopg.rows import dict_row

from cli.stack import Stack
from cli.stack.names import INFRASTRUCTURE
from cli.stack.ports import is_free
from connectors.postgres.accounts.keys import mint_key
from connectors.postgres.accounts.tenants import create_tenant
from connectors.postgres.database import Database
from harness.plan import TENANTS, WORKERS, Scenario
from schemas.scopes import DEFAULT_SCOPES
from schemas.settings import DatabaseSettings, load

HERE = Path(__file__).parent
CHILDREN = HERE.parent / "children"
PROBE = "probe/put-twice"
EVENTS = ("asset.ready", "asset.failed")
EVERYTHING = (
    "asset.created",
    "asset.uploaded",
    "job.starting",
    "job.started",
    "variant.ready",
    "job.done",
    "job.failed",
    *EVENTS,
)
# Far below 40 s, which the longest jobs take.
TIMEOUTS = {
    "MEDIALANE_WORKER_SESSION_TIMEOUT_S": "6",
    "MEDIALANE_WORKER_REBALANCE_TIMEOUT_S": "6",
    "MEDIALANE_WORKER_MAX_POLL_S": "20",
}
MEDIA = {
    "MEDIALANE_WORKER_SLOTS": "4",
    "MEDIALANE_PROCESSOR_AROUND": "pace:around",
    "PYTHONPATH": str(CHILDREN),
}
# The run kills more workers than a job is forgiven for taking with it, and those of 40 s are there every time.
KEEPER = {"MEDIALANE_KEEPER_MAX_DEATHS": "50"}
CONNECT = {"exactly.once.source.support": "enabled"}
WEBHOOKS = TIMEOUTS | {
    "MEDIALANE_WEBHOOK_SCHEDULE_S": "1,1,2,2,4,4,8,8,16,16,16,16",
    "MEDIALANE_WEBHOOK_LEASE_S": "8",
    "MEDIALANE_WEBHOOK_TIMEOUT_S": "5",
}


@dataclass(frozen=True)
class Tenant:
    id: str
    key: str


@dataclass
class Bed:
    """What a run works with. `down` names parts that a fault keeps down: they are not to be started again meanwhile."""

    stack: Stack
    folder: Path
    proxy: subprocess.Popen | None
    receiver_port: int
    receiver_log: Path
    tenants: list[Tenant] = field(default_factory=list)
    endpoints: list[dict] = field(default_factory=list)
    parts: dict[str, dict[str, str]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    restarts: list[dict] = field(default_factory=list)

    @property
    def api(self) -> str:
        env = self.stack.env
        return f"http://{env['MEDIALANE_API_HOST']}:{env['MEDIALANE_API_PORT']}"

    @property
    def database_url(self) -> str:
        return self.stack.env["MEDIALANE_MIGRATION_DATABASE_URL"]

    @property
    def direct_brokers(self) -> str:
        """The brokers past the proxy: for whoever looks on."""
        ports = self.stack.state.ports
        return ",".join(f"127.0.0.1:{ports[name]}" for name in ("kafka", "kafka@2", "kafka@3") if name in ports)

    async def rows(self, query: str, *values: object) -> list[dict]:
        """Ask the database, for as long as it takes it to be there."""
        async with asyncio.timeout(120):
            while True:
                try:
                    connection = await psycopg.AsyncConnection.connect(
                        self.database_url, autocommit=True, connect_timeout=5, row_factory=dict_row
                    )
                    async with connection:
                        return await (await connection.execute(query, values)).fetchall()
                except psycopg.OperationalError:
                    await asyncio.sleep(0.2)

    async def start(self, name: str) -> None:
        """Start a part with its own settings, trying again: what it needs may be away as well."""
        async with asyncio.timeout(180):
            while True:
                try:
                    await asyncio.to_thread(self.stack.start_part, name, self.parts.get(name, {}))
                except Exception as error:  # noqa: BLE001 - shown if it lasts
                    if "already runs" in str(error):
                        return
                    print(f"    {name} does not start yet: {error}", flush=True)
                    await asyncio.sleep(1)
                else:
                    return

    async def supervise(self) -> None:
        """What a supervisor does in production: start again what ended by itself."""
        while True:
            await asyncio.sleep(1)
            running = {name for name, part in self.stack.state.parts.items() if part.process is not None}
            for name in set(self.parts) - running - self.down:
                code = self.stack.state.parts[name].exit_code
                print(f"    {name} ended by itself (exit {code}); started again", flush=True)
                self.restarts.append({"part": name, "exit": code, "at": time.time()})
                await self.start(name)

    def store(self):
        """An S3 client."""
        env = self.stack.env
        return boto3.client(
            "s3", endpoint_url=env["MEDIALANE_S3_ENDPOINT"], region_name="us-east-1",
            aws_access_key_id=env["MEDIALANE_S3_ACCESS_KEY"], aws_secret_access_key=env["MEDIALANE_S3_SECRET_KEY"],
        )  # fmt: skip


@asynccontextmanager
async def bed(folder: Path, scenario: Scenario) -> AsyncIterator[Bed]:
    """A running bed; everything that was started is stopped afterwards."""
    with contextlib.ExitStack() as scope:
        door, behind = _free_ports(2)
        log = folder / "receiver.jsonl"
        receiver = scope.enter_context(_program("receiver.py", str(log)))
        pins, proxy = {}, None
        if scenario.brokers == 1:
            pins = {"kafka-door": door, "kafka-behind": behind}
            proxy = scope.enter_context(_program("proxy.py", str(door), str(behind)))
        stack = await asyncio.to_thread(
            lambda: Stack.start(
                folder / "stack", parts=(*INFRASTRUCTURE, "api", "keeper"), ports=pins, brokers=scenario.brokers,
                owner=os.getpid(), progress=_told,
            )
        )  # fmt: skip
        scope.callback(stack.stop, quick=True)
        found = Bed(stack, folder, proxy and proxy[0], int(receiver[1]), log)
        patience = {"MEDIALANE_PROCESSOR_IMAGE_TIMEOUT_S": str(30 + 2 * scenario.long_s)}
        media = MEDIA | patience | (TIMEOUTS if scenario.hurried else {})
        found.parts = dict.fromkeys((*WORKERS, *(("media-video",) if scenario.videos else ())), media)
        found.parts |= {"webhooks": WEBHOOKS}
        changed = {"keeper": KEEPER} | ({"connect": CONNECT} if scenario.transactions else {})
        for name, settings in changed.items():
            await asyncio.to_thread(stack.restart, name, settings)
        await asyncio.gather(*(found.start(name) for name in found.parts))
        found.parts |= {"api": {}} | changed
        _keep_versions(found)
        await _register(found)
        yield found


def _keep_versions(found: Bed) -> None:
    """Have the bucket keep every version, and put one object twice, which must show as two."""
    bucket, store = found.stack.env["MEDIALANE_S3_BUCKET"], found.store()
    store.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        store.put_object(Bucket=bucket, Key=PROBE, Body=body)


async def _register(found: Bed) -> None:
    """Tenants, each with an endpoint for the ends of its assets; every other one also with one for everything."""
    settings = load(DatabaseSettings, found.stack.env)
    async with aiohttp.ClientSession() as session, Database(settings, application="faults") as database:
        for number in range(TENANTS):
            async with database.transaction() as connection:
                made = await create_tenant(connection, f"faults-{number}")
                key = await mint_key(connection, made.id, name="", scopes=DEFAULT_SCOPES, expires_at=None)
            tenant = Tenant(str(made.id), key.text)
            found.tenants.append(tenant)
            for name, events in (("ends", EVENTS), ("all", EVERYTHING))[: 1 + number % 2]:
                path = f"/{number}/{name}"
                body = {"url": f"http://127.0.0.1:{found.receiver_port}{path}", "events": list(events)}
                headers = {"Authorization": f"Bearer {tenant.key}"}
                async with session.post(f"{found.api}/api/v1/webhooks", json=body, headers=headers) as response:
                    answer = await response.json()
                    assert response.status == 201, answer
                found.endpoints.append(
                    {
                        "tenant_id": tenant.id,
                        "path": path,
                        "events": list(events),
                        "secret": answer["data"]["secret"],
                    }
                )


@contextlib.contextmanager
def _program(name: str, *arguments: str):
    """A program of this folder, and the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / name), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _free_ports(count: int) -> list[int]:
    """Below those that the kernel gives to outgoing connections, so that none takes one before it is listened to."""
    free = (port for port in iter(lambda: random.randrange(22_000, 32_000), None) if is_free(port))
    return [next(free) for _ in range(count)]


def _told(event) -> None:
    print(f"  {event.name or 'stack'} ready ({event.seconds:.1f} s)", flush=True)
