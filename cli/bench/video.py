"""A 10 s 1080p30 clip through the whole pipeline, and what its variants cost beside other ways to make them."""

import asyncio
import struct
import tempfile
from pathlib import Path

from cli.bench.context import Bench, process_all, upload_only
from cli.bench.figures import Figure
from cli.harness.samples import make_clip, make_pan
from processors.video.costs import Costs
from processors.video.costs import measure as measure_costs

_CLIPS, _QUICK_CLIPS = 6, 2
_ROUNDS = 2


def measure(bench: Bench) -> list[Figure]:
    """Distinct copies of one clip, completed at once."""
    count = _QUICK_CLIPS if bench.quick else _CLIPS
    bench.tell(f"video: {count} clips of 10 s through the pipeline")
    with tempfile.TemporaryDirectory(prefix="medialane-bench-") as folder:
        clip = make_clip(Path(folder) / "clip.mp4").read_bytes()
    seconds, cpu_s = asyncio.run(_pipeline(bench, [_distinct(clip, index) for index in range(count)]))
    figures = [Figure("video_jobs_per_s", count / seconds, "1/s"), Figure("video_cpu_s_per_job", cpu_s, "s")]
    return figures + _ratios(bench)


def _ratios(bench: Bench) -> list[Figure]:
    """Each way is measured as often and its cheapest round counts: what disturbs a round only ever adds."""
    rounds = []
    for number in range(1 if bench.quick else _ROUNDS):
        bench.tell(f"video: what variants cost beside other ways to make them, round {number + 1}")
        with tempfile.TemporaryDirectory(prefix="medialane-bench-") as name:
            folder = Path(name)
            rounds.append(measure_costs(make_pan(folder / "pan.mp4"), folder))
    least = Costs(*(min(column) for column in zip(*rounds, strict=True)))
    return [
        Figure("video_cpu_vs_separate", least.trio_separate / least.trio, "x less"),
        Figure("video_cpu_vs_floor", least.trio / least.trio_floor, "x"),
        Figure("hls_cpu_vs_separate", least.ladder_separate / least.ladder, "x less"),
        Figure("storyboard_cpu_vs_full", least.storyboard_full / least.storyboard, "x less"),
    ]


async def _pipeline(bench: Bench, contents: list[bytes]) -> tuple[float, float]:
    tenant = await bench.tenant("video")
    async with bench.client(tenant) as client:
        assets = await upload_only(client, "clip.mp4", "video/mp4", contents)
        return await process_all(bench, tenant, client, assets)


def _distinct(clip: bytes, index: int) -> bytes:
    mark = f"medialane bench {index}".encode()
    return clip + struct.pack(">I", 8 + len(mark)) + b"free" + mark  # a box that players skip
