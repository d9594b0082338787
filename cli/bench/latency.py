"""How long things take when nothing waits: commit to Kafka, and complete to the webhook that says done."""

import asyncio
import time
from uuid import UUID

from cli.bench.context import Bench, BenchError, upload_only
from cli.bench.figures import Figure, quantiles
from cli.client import MedialaneClient
from cli.harness.receiver import Receiver
from cli.harness.rows import AssetRows
from cli.harness.samples import distinct, find_samples
from cli.harness.witness import Witness
from connectors.postgres import outbox
from schemas.records import CANARY_TYPE, HEADER_ID
from schemas.topics import CANARY

_ROWS, _QUICK_ROWS = 500, 100
_WARM_ROWS, _WARM_JOBS = 3000, 10  # two virtual machines have just started: their code is compiled as it is used
_ROW_PAUSE_S = 0.011  # about 90 rows a second: each row stands alone
_JOBS, _QUICK_JOBS = 100, 20
_PATIENCE_S = 60.0
_WORK = ("download", "process", "upload")


def measure(bench: Bench) -> list[Figure]:
    """Both latencies, one thing at a time."""
    rows = _QUICK_ROWS if bench.quick else _ROWS
    bench.tell(f"latency: {_WARM_ROWS} rows to warm up")
    asyncio.run(_commit_to_kafka(bench, _WARM_ROWS))
    bench.tell(f"latency: {rows} rows from commit to a Kafka consumer")
    figures = quantiles("commit_to_kafka", asyncio.run(_commit_to_kafka(bench, rows)))
    jobs = _QUICK_JOBS if bench.quick else _JOBS
    bench.tell(f"latency: {jobs} photos one at a time, from complete to the job.done webhook")
    whole, overhead = asyncio.run(_complete_to_webhook(bench, jobs))
    figures += quantiles("complete_to_webhook", whole)
    return figures + quantiles("complete_to_webhook_overhead", overhead)


async def _commit_to_kafka(bench: Bench, count: int) -> list[float]:
    committed: dict[str, float] = {}
    with Witness(bench.platform.kafka, [bench.platform.topic(CANARY)]) as witness:
        async with bench.database() as database:
            for _ in range(count):
                async with database.transaction() as connection:
                    row_id = await outbox.write(
                        connection, route=CANARY.route, subject_id="bench", key="bench", tenant_id=None,
                        record_type=CANARY_TYPE, payload="{}", kpart=0,
                    )  # fmt: skip
                committed[str(row_id)] = time.time()
                await asyncio.sleep(_ROW_PAUSE_S)
        wanted = set(committed)
        arrived = await asyncio.to_thread(
            witness.wait_for, lambda seen: wanted <= {record.header(HEADER_ID) for record in seen}, _PATIENCE_S
        )
        if not arrived:
            raise BenchError("outbox rows did not reach Kafka in time")
        seen = {record.header(HEADER_ID): record.arrived for record in witness.records}
    # A record may be read before the commit's answer has reached us: that is 0, not negative.
    return [max(seen[row_id] - at, 0.0) for row_id, at in committed.items()]


async def _complete_to_webhook(bench: Bench, count: int) -> tuple[list[float], list[float]]:
    tenant = await bench.tenant("latency")
    photos = [await asyncio.to_thread(path.read_bytes) for path in find_samples().photos]
    whole, overhead = [], []
    async with Receiver() as receiver, bench.client(tenant) as client, bench.database() as database:
        await client.register_webhook(receiver.url(), ["job.done", "job.failed"])
        for index in range(_WARM_JOBS + count):
            content = distinct(photos[index % len(photos)], f"latency {index}")
            [asset_id] = await upload_only(client, "photo.jpg", "image/jpeg", [content])
            seconds = await _one(client, receiver, asset_id)
            work = await _work_seconds(AssetRows(database), asset_id)
            if index >= _WARM_JOBS:
                whole.append(seconds)
                overhead.append(seconds - work)
            if index % 10 == 9:
                bench.tell(f"  {index + 1} of {_WARM_JOBS + count}")
    return whole, overhead


async def _one(client: MedialaneClient, receiver: Receiver, asset_id: UUID) -> float:
    began = time.time()
    await client.complete(asset_id)
    await receiver.wait_for(lambda got: bool(got) and got[-1].asset_id == str(asset_id), _PATIENCE_S)
    told = receiver.received[-1]
    if told.event_type != "job.done":
        raise BenchError(f"the job failed: {told.payload}")
    return told.arrived - began


async def _work_seconds(ledger: AssetRows, asset_id: UUID) -> float:
    job, *_ = await ledger.jobs(asset_id)
    stages = (job.report or {}).get("stages", [])
    return sum(float(stage["seconds"]) for stage in stages if stage["name"] in _WORK)
