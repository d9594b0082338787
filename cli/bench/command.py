"""`medialane bench` as a program: a stack of its own, one kind of figure after the other, the table and the file."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from cli.bench import api, images, lanes, latency, memory, video, webhooks
from cli.bench.context import Bench, BenchError
from cli.bench.durability import settings_in_force
from cli.bench.figures import Figure, line, verdict
from cli.bench.load import LoadError
from cli.client import ClientError
from cli.onboarding import CommandError
from cli.running import Progress, begin_empty, ends_in_good_order, platform_of
from cli.samples import MissingSamplesError
from cli.stack import Stack, StackError

_FOLDER = Path(".local/stack/bench")
_RESULT = Path("build/bench.json")
_PARTIAL = Path("build/bench-partial.json")
"""Of a run that is not whole: what is published is one run's."""
_DEMO = Path("build/demo.json")
_DEMO_COLD = Path("build/demo-cold.json")
"""Written by the script that runs the demo on a bare machine."""

KINDS: dict[str, Callable[[Bench], list[Figure]]] = {
    "latency": latency.measure,
    "images": images.measure,
    "video": video.measure,
    "api": api.measure,
    "webhooks": webhooks.measure,
    "lanes": lanes.measure,
    "memory": memory.measure,
}
"""In the order in which they run: what needs a quiet stack comes first."""


@click.command(name="bench")
@click.option("--only", multiple=True, type=click.Choice([*KINDS, "demo"]), help="Measure this kind only; repeatable.")
@click.option("--quick", is_flag=True, help="Fewer jobs: to try it out, not to publish.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=_FOLDER, help="Its stack's new folder.")
def bench(*, only: Sequence[str], quick: bool, folder: Path) -> None:
    """Measure every published figure on a real stack and write build/bench.json.

    With --only or --quick: build/bench-partial.json, so that the figures of the last whole run stay.
    """
    console = Console(stderr=True)
    progress = Progress(console)
    wanted = set(only) or {*KINDS, "demo"}
    try:
        with ends_in_good_order():
            figures, conditions = _measure(progress, folder, wanted, quick=quick)
            figures += _demo_times(progress, wanted)
    except (StackError, MissingSamplesError, ClientError, CommandError, BenchError, LoadError) as error:
        console.print(f"[red]bench failed:[/red] {escape(str(error))}", highlight=False)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        console.print("bench interrupted; everything it started is stopped")
        raise SystemExit(130) from None
    _publish(console, figures, conditions, _PARTIAL if only or quick else _RESULT)


def _measure(progress: Progress, folder: Path, wanted: set[str], *, quick: bool) -> tuple[list[Figure], dict[str, str]]:
    kinds = [name for name in KINDS if name in wanted]
    if not kinds:
        return [], {}
    figures: list[Figure] = []
    progress.tell("starting the stack")
    begin_empty(folder, own=_FOLDER)
    with Stack.start(folder, progress=progress.stack_event) as stack:
        run = Bench(stack, platform_of(stack), quick, progress.tell)
        conditions = {"load average before": _load_average(), "one core": _speed()}
        conditions |= asyncio.run(settings_in_force(run))
        for name in kinds:
            figures += KINDS[name](run)
        conditions["load average after"] = _load_average()
    return figures, conditions


def _demo_times(progress: Progress, wanted: set[str]) -> list[Figure]:
    figures = []
    if "demo" in wanted:
        progress.tell("demo: a warm run, its output in build/demo.log")
        _DEMO.parent.mkdir(exist_ok=True)
        with Path("build/demo.log").open("wb") as log:
            ended = subprocess.run(
                [sys.executable, "-P", "-m", "cli.main", "demo"], stdout=log, stderr=log, check=False
            )
        if ended.returncode != 0:
            raise BenchError(f"the demo failed (exit {ended.returncode}); build/demo.log says why")
        figures.append(Figure("demo_warm_s", json.loads(_DEMO.read_bytes())["seconds"], "s"))
        if _DEMO_COLD.exists():
            figures.append(Figure("demo_cold_s", json.loads(_DEMO_COLD.read_bytes())["seconds"], "s"))
    return figures


def _publish(console: Console, figures: Sequence[Figure], conditions: dict[str, str], path: Path) -> None:
    for name, value in conditions.items():
        console.print(f"{name}: {value}", highlight=False, soft_wrap=True)
    for figure in figures:
        click.echo(line(figure))
    for figure in figures:
        beside = verdict(figure)
        if beside:
            console.print(f"{line(figure):52} {beside}", highlight=False, soft_wrap=True)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({figure.name: figure.value for figure in figures}, indent=2) + "\n", encoding="utf-8")


def _speed() -> str:
    """How fast this machine is at all, best of three: most figures here are times, and go with it."""
    count, best = 2_000_000, float("inf")
    for _ in range(3):
        began, total = time.perf_counter(), 0
        for number in range(count):
            total += number
        best = min(best, time.perf_counter() - began)
    return f"{count / best / 1e6:.1f} million additions per second in Python"


def _load_average() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) + f" on {os.cpu_count()} cores"
