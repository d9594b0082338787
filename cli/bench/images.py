"""Photos through the whole pipeline, against the same processors in a bare loop on local files, in the same run."""

import asyncio
import tempfile
from pathlib import Path

from cli.bench.context import Bench, process_all, upload_only
from cli.bench.figures import Figure
from cli.bench.processes import cpu_seconds
from cli.samples import distinct, find_samples
from processors.bench import bare_loop

_PHOTOS, _QUICK_PHOTOS = 60, 12
_WARM_UP = 4
_CHILDREN = 2


def measure(bench: Bench) -> list[Figure]:
    """Distinct 4000x3000 photos, uploaded before they are completed, so that workers are measured and not the PUT."""
    count = _QUICK_PHOTOS if bench.quick else _PHOTOS
    photos = [path.read_bytes() for path in find_samples().photos]
    contents = [distinct(photos[index % len(photos)], f"bench {index}") for index in range(count)]
    bench.tell(f"images: {count} photos through the pipeline")
    seconds, cpu_s, total_cpu_s = asyncio.run(_pipeline(bench, contents, photos[0]))
    bench.tell(f"images: {count} photos in a bare loop with {_CHILDREN} warm children, the stack idle")
    with tempfile.TemporaryDirectory(prefix="medialane-bench-") as folder:
        paths = [Path(folder) / f"{index}.jpg" for index in range(count)]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        bare = bare_loop(paths, _CHILDREN)
    jobs_per_s = count / seconds
    return [
        Figure("image_jobs_per_s", jobs_per_s, "1/s"),
        Figure("image_bare_loop_per_s", bare.jobs_per_s, "1/s"),
        Figure("image_ratio_to_bare_loop", jobs_per_s / bare.jobs_per_s, ""),
        Figure("image_cpu_s_per_job", cpu_s, "s"),
        Figure("image_total_cpu_s_per_job", total_cpu_s / count, "s"),
    ]


async def _pipeline(bench: Bench, contents: list[bytes], photo: bytes) -> tuple[float, float, float]:
    warm = await bench.tenant("warm")
    async with bench.client(warm) as client:
        some = [distinct(photo, f"warm {index}") for index in range(_WARM_UP)]
        await process_all(bench, warm, client, await upload_only(client, "warm.jpg", "image/jpeg", some))
    tenant = await bench.tenant("images")
    async with bench.client(tenant) as client:
        assets = await upload_only(client, "photo.jpg", "image/jpeg", contents)
        pids = bench.pids()
        before = cpu_seconds(pids)
        seconds, cpu_s = await process_all(bench, tenant, client, assets)
        after = cpu_seconds(pids)
    return seconds, cpu_s, sum(after.values()) - sum(before.values())
