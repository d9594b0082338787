"""Photos through the whole pipeline, against the same processors in a bare loop on local files, in the same run."""

import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cli.bench.context import Bench, at_rest, process_all, upload_only
from cli.bench.figures import Figure
from cli.bench.processes import cpu_seconds
from cli.harness.samples import distinct, find_samples
from processors.bench import bare_loop, yardstick_cpu_s

_PHOTOS, _QUICK_PHOTOS = 60, 12
_WARM_UP = 4
_CHILDREN = 2
_ROUNDS = 3


def measure(bench: Bench) -> list[Figure]:
    """Distinct 4000x3000 photos, uploaded before they are completed, so that workers are measured and not the PUT."""
    count = _QUICK_PHOTOS if bench.quick else _PHOTOS
    photos = [path.read_bytes() for path in find_samples().photos]
    contents = [distinct(photos[index % len(photos)], f"bench {index}") for index in range(count)]
    bench.tell(f"images: {count} photos through the pipeline")
    seconds, cpu_s, total_cpu_s = asyncio.run(_pipeline(bench, contents, photos[0]))
    yardsticks = _yardsticks(bench, find_samples().photos[:3])
    bench.tell(f"images: {count} photos in a bare loop with {_CHILDREN} warm children, the stack idle")
    with tempfile.TemporaryDirectory(prefix="medialane-bench-") as folder:
        paths = [Path(folder) / f"{index}.jpg" for index in range(count)]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        alone = bare_loop(paths[: count // _CHILDREN], 1)
        bare = bare_loop(paths, _CHILDREN)
    jobs_per_s = count / seconds
    return [
        Figure("image_jobs_per_s", jobs_per_s, "1/s"),
        Figure("image_bare_loop_per_s", bare.jobs_per_s, "1/s"),
        Figure("image_ratio_to_bare_loop", jobs_per_s / bare.jobs_per_s, ""),
        Figure("image_cpu_s_per_job", cpu_s, "s"),
        Figure("image_total_cpu_s_per_job", total_cpu_s / count, "s"),
        Figure("image_child_rss_mb", max(alone.max_rss_mb, bare.max_rss_mb), "MiB"),
        Figure("children_scaling", bare.jobs_per_s / alone.jobs_per_s, ""),
        *yardsticks,
    ]


def _yardsticks(bench: Bench, photos: Sequence[Path]) -> list[Figure]:
    """The ladder of the real photos against three naive decodes and against its floor: CPU seconds, one child each."""
    bench.tell(f"images: {len(photos)} photos against naive decodes and the floor, the stack idle")
    rounds = 1 if bench.quick else _ROUNDS
    found = [
        (bare_loop(photos, 1).cpu_s_per_job, yardstick_cpu_s("naive", photos), yardstick_cpu_s("floor", photos))
        for _ in range(rounds)
    ]
    ours, naive, floor = (statistics.median(column) for column in zip(*found, strict=True))
    return [
        Figure("image_ladder_cpu_s", ours, "s"),
        Figure("image_cpu_vs_naive", naive / ours, ""),
        Figure("image_cpu_vs_floor", ours / floor, ""),
    ]


async def _pipeline(bench: Bench, contents: list[bytes], photo: bytes) -> tuple[float, float, float]:
    warm = await bench.tenant("warm")
    async with bench.client(warm) as client:
        some = [distinct(photo, f"warm {index}") for index in range(_WARM_UP)]
        await process_all(bench, warm, client, await upload_only(client, "warm.jpg", "image/jpeg", some))
    tenant = await bench.tenant("images")
    async with bench.client(tenant) as client:
        assets = await upload_only(client, "photo.jpg", "image/jpeg", contents)
        await at_rest(bench)
        pids = bench.pids()
        before = cpu_seconds(pids)
        seconds, cpu_s = await process_all(bench, tenant, client, assets)
        after = cpu_seconds(pids)
    return seconds, cpu_s, sum(after.values()) - sum(before.values())
