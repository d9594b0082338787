"""The API under sixteen clients: presign, and complete of uploads that are really there."""

import asyncio
import json
from uuid import UUID

from cli.bench.context import Bench, upload_only
from cli.bench.figures import Figure, quantiles
from cli.bench.load import drive, request
from cli.onboarding import Tenant
from cli.samples import find_samples

_CLIENTS = 16
_PRESIGNS, _QUICK_PRESIGNS = 6000, 1000
_COMPLETES, _QUICK_COMPLETES = 1500, 300


def measure(bench: Bench) -> list[Figure]:
    """Rates and the 99th percentile of each call, everything else of the stack running."""
    return asyncio.run(_measure(bench))


async def _measure(bench: Bench) -> list[Figure]:
    tenant = await bench.tenant("api")
    count = _QUICK_PRESIGNS if bench.quick else _PRESIGNS
    bench.tell(f"api: {count} presigns by {_CLIENTS} clients")
    await _presign(bench, tenant, count // 10)  # warm up
    figures = await _presign(bench, tenant, count)
    # Small uploads of the same bytes: after the first one the workers have nothing to process, only rows to move.
    small = (find_samples().photos[0].parent / "debian_logo.jpg").read_bytes()
    count = _QUICK_COMPLETES if bench.quick else _COMPLETES
    bench.tell(f"api: {count} small uploads, then their completes by {_CLIENTS} clients")
    async with bench.client(tenant) as client:
        assets = await upload_only(client, "logo.jpg", "image/jpeg", [small] * count)
    return figures + await _complete(bench, tenant, assets)


async def _presign(bench: Bench, tenant: Tenant, count: int) -> list[Figure]:
    body = json.dumps({"fileName": "photo.jpg", "contentType": "image/jpeg", "size": 3_207_823}).encode()
    headers = {"Authorization": f"Bearer {tenant.api_key}", "Content-Type": "application/json"}
    one = request("POST", "/api/v1/storage/presign", host="localhost", headers=headers, body=body)
    load = await drive(bench.platform.api_url, [one] * count, clients=_CLIENTS)
    return [Figure("presign_per_s", load.per_s, "1/s"), *quantiles("presign", load.seconds, (99,))]


async def _complete(bench: Bench, tenant: Tenant, assets: list[UUID]) -> list[Figure]:
    headers = {"Authorization": f"Bearer {tenant.api_key}"}
    paths = [f"/api/v1/assets/{asset_id}/complete" for asset_id in assets]
    requests = [request("GET", path, host="localhost", headers=headers) for path in paths]
    load = await drive(bench.platform.api_url, requests, clients=_CLIENTS)
    return [Figure("complete_per_s", load.per_s, "1/s"), *quantiles("complete", load.seconds, (99,))]
