"""The API under 16 and 64 clients, with every check on: presign, and complete of uploads that are really there."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

from cli.bench.context import Bench, upload_only
from cli.bench.figures import Figure, quantiles
from cli.bench.load import Load, drive, request
from cli.bench.processes import cpu_seconds
from cli.bench.rows import give_up
from cli.harness.onboarding import Tenant, medialane
from cli.harness.samples import find_samples

_CLIENTS = (16, 64)
_PRESIGNS, _QUICK_PRESIGNS = 6000, 1000
_PRESIGN = json.dumps({"fileName": "photo.jpg", "contentType": "image/jpeg", "size": 3_207_823}).encode()
_JSON = {"Content-Type": "application/json"}
_COMPLETES, _QUICK_COMPLETES = 4000, 300
# Limits that are counted and never reached.
_PLAN = ("--rate", "1000000", "--burst", "1000000", "--assets", "1000000000", "--bytes", "1000000000000000",
         "--uploads", "1000000")  # fmt: skip


def measure(bench: Bench) -> list[Figure]:
    """Rates, times of calls then and at half the load, and the API's CPU per call, everything else running."""
    return asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Figure]:
    tenant = await bench.tenant("api")
    await medialane(bench.platform.env, "plans", "set", "bench", *_PLAN)
    await medialane(bench.platform.env, "tenants", "plan", tenant.slug, "bench")
    count = _QUICK_PRESIGNS if bench.quick else _PRESIGNS
    await _presign(bench, tenant, count // 10, _CLIENTS[0])  # warm up, and let the plan be known
    figures: list[Figure] = []
    for clients in _CLIENTS:
        bench.tell(f"api: {count} presigns by {clients} clients")
        load, cpu_s = await _with_cpu(bench, partial(_presign, bench, tenant, count, clients))
        figures += [
            Figure(_name("presign_per_s", clients), load.per_s, "1/s"),
            Figure(_name("presign_api_cpu_ms", clients), cpu_s / count * 1000, "ms"),
        ]
        figures += quantiles("presign", load.seconds, (50, 99)) if clients == _CLIENTS[0] else []
    figures += await _bare(bench, count // 2, figures)
    half = min(figure.value for figure in figures if figure.name.startswith("presign_per_s")) / 2
    bench.tell(f"api: presigns at half of that, {half:.0f} per second")
    paced = await _presign(bench, tenant, count // 2, _CLIENTS[0], per_s=half)
    figures += quantiles("presign_half_load", paced.seconds, (50, 99))
    for clients in _CLIENTS:
        figures += await _completes(bench, tenant, clients)
    return figures


async def _bare(bench: Bench, count: int, ours: Sequence[Figure]) -> list[Figure]:
    """The same two inserts and a signature without any of our checks, and our rates as ratios to that."""
    bench.tell(f"api: {count} presigns by a bare handler, for comparison")
    argv = [sys.executable, "-P", "-m", "cli.bench.bare_api"]
    env = os.environ | dict(bench.platform.env)
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    if process.stdout is None:
        raise TypeError("asked for a pipe")
    try:
        address = (await process.stdout.readline()).decode().strip()
        one = request("POST", "/presign", host="localhost", headers=_JSON, body=_PRESIGN)
        await drive(address, [one] * (count // 10), clients=_CLIENTS[0])
        figures = []
        for clients in _CLIENTS:
            load = await drive(address, [one] * count, clients=clients)
            figures.append(Figure(_name("presign_bare_per_s", clients), load.per_s, "1/s"))
            rate = next(figure.value for figure in ours if figure.name == _name("presign_per_s", clients))
            figures.append(Figure(_name("presign_ratio_to_bare", clients), rate / load.per_s, ""))
        return figures
    finally:
        process.terminate()
        await process.wait()


async def _completes(bench: Bench, tenant: Tenant, clients: int) -> list[Figure]:
    # Small uploads of the same bytes: after the first one the workers have nothing to process, only rows to move.
    small = (find_samples().photos[0].parent / "debian_logo.jpg").read_bytes()
    count = _QUICK_COMPLETES if bench.quick else _COMPLETES
    bench.tell(f"api: {count} small uploads, then their completes by {clients} clients")
    async with bench.client(tenant) as client:
        assets = await upload_only(client, "logo.jpg", "image/jpeg", [small] * (count + count // 10))
    await _complete(bench, tenant, assets[count:], clients)  # warm up, as for presigns
    assets = assets[:count]
    load, cpu_s = await _with_cpu(bench, partial(_complete, bench, tenant, assets, clients))
    async with bench.database() as database, database.transaction() as connection:
        await give_up(connection, [tenant.id])  # what was to be measured is over; the next measurement is not to wait
    latency = quantiles("complete", load.seconds, (99,)) if clients == _CLIENTS[0] else []
    return [
        Figure(_name("complete_per_s", clients), load.per_s, "1/s"),
        Figure(_name("complete_api_cpu_ms", clients), cpu_s / count * 1000, "ms"),
        *latency,
    ]


async def _with_cpu(bench: Bench, work: Callable[[], Awaitable[Load]]) -> tuple[Load, float]:
    """What came of the work, and the CPU seconds that the API spent meanwhile."""
    api = {"api": bench.pids()["api"]}
    before = cpu_seconds(api)["api"]
    load = await work()
    return load, cpu_seconds(api)["api"] - before


async def _presign(bench: Bench, tenant: Tenant, count: int, clients: int, per_s: float | None = None) -> Load:
    headers = {"Authorization": f"Bearer {tenant.api_key}", **_JSON}
    one = request("POST", "/api/v1/storage/presign", host="localhost", headers=headers, body=_PRESIGN)
    return await drive(bench.platform.api_url, [one] * count, clients=clients, per_s=per_s)


async def _complete(bench: Bench, tenant: Tenant, assets: Sequence[UUID], clients: int) -> Load:
    headers = {"Authorization": f"Bearer {tenant.api_key}"}
    paths = [f"/api/v1/assets/{asset_id}/complete" for asset_id in assets]
    requests = [request("GET", path, host="localhost", headers=headers) for path in paths]
    return await drive(bench.platform.api_url, requests, clients=clients)


def _name(figure: str, clients: int) -> str:
    return figure if clients == _CLIENTS[0] else f"{figure}_{clients}_clients"
