"""The lanes without media: records and jobs per second, memory that stays flat, and what a noisy neighbour costs."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import msgspec

from cli.bench import rows
from cli.bench.context import Bench, BenchError
from cli.bench.figures import Figure, quantile
from cli.bench.job_probe import Options
from cli.bench.lane_probe import Probed
from cli.bench.processes import cpu_seconds
from connectors.postgres.accounts.tenants import create_tenant
from connectors.postgres.database import Database
from schemas.ids import uuid7

_RECORDS, _QUICK_RECORDS = 50_000, 5_000
_JOBS, _QUICK_JOBS = 4_000, 400
_TENANTS = 16
_WORKERS = 2
_CREDIT = 64  # as tenants are made
_JOB_S = 0.1
_QUIET, _QUICK_QUIET = 80, 20
_PAUSE_S = 0.3
_NOISY = (1_000, 20_000)
_PARTITION = 3
_PATIENCE_S = 600.0


def measure(bench: Bench) -> list[Figure]:
    """Records first, then jobs, then neighbours; the stack's own image worker rests meanwhile."""
    figures = _records(bench)
    bench.stack.stop_part("media-images")
    try:
        figures += asyncio.run(_jobs(bench))
        figures += asyncio.run(_neighbours(bench))
    finally:
        bench.stack.start_part("media-images")
    return figures


def _records(bench: Bench) -> list[Figure]:
    count = _QUICK_RECORDS if bench.quick else _RECORDS
    bench.tell(f"lanes: {count} empty records through broker, lane and commit, in one process")
    probed = asyncio.run(_probe(bench, count))
    bench.tell(f"  {1e3 * probed.cpu_s / count:.3f} ms of this process's CPU per record")
    return [
        Figure("noop_jobs_per_s", probed.per_s, "1/s"),
        Figure("lane_rss_growth_mb", probed.end_rss_mb - probed.warm_rss_mb, "MiB"),
    ]


async def _probe(bench: Bench, count: int) -> Probed:
    env = os.environ | dict(bench.platform.env) | {"MEDIALANE_KAFKA_TOPIC_PREFIX": f"bench{secrets.token_hex(4)}"}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli.bench.lane_probe", str(count), env=env, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    answer, _ = await child.communicate()
    if child.returncode != 0:
        raise BenchError(f"the process with the lanes ended with {child.returncode}")
    return msgspec.json.decode(answer, type=Probed)


async def _jobs(bench: Bench) -> list[Figure]:
    count = (_QUICK_JOBS if bench.quick else _JOBS) // _TENANTS * _TENANTS
    bench.tell(f"lanes: {count} jobs claimed and finished in Postgres by {_WORKERS} processes, everything else running")
    async with bench.database() as database, AsyncExitStack() as workers:
        tenants = await _tenants(database, _TENANTS)
        pids = bench.pids()
        for number in range(_WORKERS):
            options = Options(slots=64, running=64)
            pids[f"worker {number + 1}"] = await workers.enter_async_context(_worker(bench, options))
        before = cpu_seconds(pids)
        async with database.transaction() as connection:
            for tenant in tenants:
                await rows.make_many(connection, tenant, count // _TENANTS)
        await _until(bench, database, tenants, "done", count)
        spent = {name: seconds - before[name] for name, seconds in cpu_seconds(pids).items()}
        seconds = await rows.span(database, tenants)
    most = sorted(spent.items(), key=lambda item: -item[1])[:7]
    bench.tell("  CPU per job, ms: " + ", ".join(f"{name} {1e3 * cpu / count:.2f}" for name, cpu in most))
    return [
        Figure("db_jobs_per_s", count / seconds, "1/s"),
        Figure("db_cpu_ms_per_job", 1e3 * sum(spent.values()) / count, "ms"),
    ]


async def _tenants(database: Database, count: int) -> list[UUID]:
    async with database.transaction() as connection:
        return [(await create_tenant(connection, f"bench-lanes-{uuid7().hex[-12:]}")).id for _ in range(count)]


async def _neighbours(bench: Bench) -> list[Figure]:
    """p95 of a quiet tenant's waits beside a noisy one, less that of its waits alone, in job lengths."""
    noisy = _NOISY[:1] if bench.quick else _NOISY
    two = Options(slots=2, running=4, seconds=_JOB_S)
    async with bench.database() as database:
        async with _worker(bench, two):
            alone, _ = await _quiet_waits(bench, database, 0)
            beside = [await _quiet_waits(bench, database, count) for count in noisy]
        async with _worker(bench, msgspec.structs.replace(two, fair=False)):
            fifo, long = await _quiet_waits(bench, database, noisy[0], credit=noisy[0])
    worst = max((waited - alone) / length for waited, length in beside)
    return [
        Figure("quiet_wait_p95_job_lengths", worst, "jobs"),
        Figure("quiet_wait_p95_job_lengths_fifo", (fifo - alone) / long, "jobs"),
    ]


async def _quiet_waits(bench: Bench, database: Database, noisy: int, credit: int | None = None) -> tuple[float, float]:
    """The p95 of the seconds that a quiet tenant's jobs wait while a noisy one's backlog is worked off beside them, and
    how long a job holds its slot, seconds: its time, and what claim and finish take on this machine.
    """
    count = _QUICK_QUIET if bench.quick else _QUIET
    bench.tell(f"lanes: {count} quiet jobs beside {noisy} of a neighbour{', first in, first out' if credit else ''}")
    quiet, loud = await _tenants(database, 2)
    async with database.transaction() as connection:
        for tenant in (quiet, loud):
            await rows.place(connection, tenant, _PARTITION)
        await rows.give_credit(connection, loud, credit or _CREDIT)
        await rows.make_many(connection, loud, noisy)
    if noisy:
        await _until(bench, database, [loud], "running", 1)
    if credit:
        await _until(bench, database, [loud], "waiting", 0)
    made = []
    for _ in range(count):
        async with database.transaction() as connection:
            made.append(await rows.make_job_now(connection, quiet))
        await asyncio.sleep(_PAUSE_S)
    left = await rows.count_in(database, [loud], "waiting") + await rows.count_in(database, [loud], "queued")
    if noisy and not left:
        raise BenchError("the neighbour's jobs were done before the quiet tenant's: nothing was measured")
    await _until(bench, database, [quiet], "done", count)
    async with database.transaction() as connection:
        await rows.give_up(connection, [loud])
    length = await rows.length(database, [loud if noisy else quiet])
    waited = quantile(await rows.waits(database, made), 95)
    bench.tell(f"  p95 {waited:.3f} s; a job holds its slot for {length:.3f} s")
    return waited, length


async def _until(bench: Bench, database: Database, tenants: list[UUID], state: str, wanted: int) -> None:
    """Wait until so many jobs are in a state: that many at least, or none."""
    told = asyncio.get_running_loop().time()
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            found = await rows.count_in(database, tenants, state)
            if found >= wanted > 0 or found == wanted == 0:
                return
            if (now := asyncio.get_running_loop().time()) - told > 2:
                bench.tell(f"  {found} of {wanted} {state}")
                told = now
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _worker(bench: Bench, options: Options) -> AsyncIterator[int]:
    """A worker of the job topic that makes nothing; yields its process id once it has partitions."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli.bench.job_probe", msgspec.json.encode(options).decode(),
        env=os.environ | dict(bench.platform.env), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if child.stdin is None or child.stdout is None:
        raise BenchError("the worker has no pipes")
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while (line := await child.stdout.readline()) != b"ready\n":
                if not line:
                    raise BenchError(f"the worker without media ended with {await child.wait()}")
        drain = asyncio.create_task(child.stdout.read())
        yield child.pid
        drain.cancel()
    finally:
        child.stdin.close()
        await child.wait()
