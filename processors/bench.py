"""The bare loop: the same processors on local files, warm children, nothing else; what the pipeline is held against."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from processors import policy
from processors.contract import Source
from processors.pool import MediaPool
from processors.sniff import sniff
from schemas.profile_sets import ProfileChoice, of_stage, resolve
from schemas.settings import ProcessorSettings
from schemas.states import PRIMARY_STAGE


class BareLoop(NamedTuple):
    """Jobs per second of wall time, the children's CPU seconds per job, and the largest peak of memory, MiB."""

    jobs_per_s: float
    cpu_s_per_job: float
    max_rss_mb: float


COMPARABLE = ProfileChoice(include=("webp", "clips"))
"""What the bench makes of photos and videos: the three variants of each that other systems make, too."""


def yardstick_cpu_s(kind: Literal["naive", "floor"], photos: Sequence[Path]) -> float:
    """CPU seconds a photo by a yardstick of `processors.images.yardsticks`, in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAGICK_", "VIPS_"))}
    # ImageMagick as it is installed: our policy, made for reading, has no WebP to write.
    env = {name: value for name, value in policy.environment().items() if name != "MAGICK_CONFIGURE_PATH"}
    command = [sys.executable, "-m", "processors.images.yardsticks", kind, *map(str, photos)]
    ran = subprocess.run(command, env=inherited | env, capture_output=True, text=True, check=True)
    return float(ran.stdout)


def bare_loop(paths: Sequence[Path], workers: int) -> BareLoop:
    """Process every file once, `workers` at a time, in warm children. Raises `MediaError` at the first failure.

    The children are warmed by one job each before the clock starts. Must not be called from inside an event loop.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pool = MediaPool(ProcessorSettings(), workers=workers, folder=folder)
        pool.start()
        return asyncio.run(_measured(pool, list(paths), workers, folder))


async def _measured(pool: MediaPool, paths: list[Path], workers: int, folder: Path) -> BareLoop:
    try:
        await asyncio.gather(*(_one(pool, paths[0], folder) for _ in range(workers)))
        began = time.perf_counter()
        costs = await _drained(pool, paths, folder, workers)
        seconds = time.perf_counter() - began
    finally:
        await pool.close(0)
    return BareLoop(len(paths) / seconds, sum(cpu for cpu, _ in costs) / len(paths), max(rss_mb for _, rss_mb in costs))


async def _drained(pool: MediaPool, paths: list[Path], folder: Path, workers: int) -> list[tuple[float, float]]:
    left = iter(paths)
    costs: list[tuple[float, float]] = []

    async def work() -> None:
        for path in left:
            costs.append(await _one(pool, path, folder))  # noqa: PERF401 - shared between the loops

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return costs


async def _one(pool: MediaPool, path: Path, folder: Path) -> tuple[float, float]:
    stage = PRIMARY_STAGE[sniff(path).kind]
    source = Source(str(path), path.stat().st_size, "", path.name)  # noqa: ASYNC240 - a local file, microseconds
    with contextlib.ExitStack() as stack:
        workdir = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        _, report = await pool.process(stage, source, workdir, of_stage(resolve(COMPARABLE), stage))
    return report.cpu_s, report.max_rss_mb
