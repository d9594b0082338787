"""`medialane bench` as a program: a stack of its own, one kind of figure after the other, the table and the file."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.markup import escape

from cli.bench import api, images, lanes, latency, memory, video, webhooks
from cli.bench.context import Bench, BenchError
from cli.bench.durability import settings_in_force
from cli.bench.figures import Figure, line, verdict
from cli.bench.load import LoadError
from cli.client import ClientError
from cli.harness.onboarding import CommandError
from cli.harness.running import Progress, begin_empty, ends_in_good_order, platform_of
from cli.harness.samples import MissingSamplesError
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


class Found(NamedTuple):
    """What was measured so far, and under which conditions: kept also where the next step fails."""

    figures: list[Figure]
    conditions: dict[str, str]


@click.command(name="bench")
@click.option("--only", multiple=True, type=click.Choice([*KINDS, "demo"]), help="Measure this kind only; repeatable.")
@click.option("--quick", is_flag=True, help="Fewer jobs: to try it out, not to publish.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=_FOLDER, help="Its stack's new folder.")
def bench(*, only: Sequence[str], quick: bool, folder: Path) -> None:
    """Measure every published figure on a real stack and write build/bench.json.

    With --only or --quick, or where a step fails: build/bench-partial.json, so that the figures of the last whole run
    stay.
    """
    console = Console(stderr=True)
    progress = Progress(console)
    wanted, found = set(only) or {*KINDS, "demo"}, Found([], {})
    try:
        with ends_in_good_order(), _kept(console, found):
            _measure(progress, folder, wanted, found, quick=quick)
            _demo_times(progress, wanted, found)
    except (StackError, MissingSamplesError, ClientError, CommandError, BenchError, LoadError) as error:
        console.print(f"[red]bench failed:[/red] {escape(str(error))}", highlight=False)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        console.print("bench interrupted; everything it started is stopped")
        raise SystemExit(130) from None
    _publish(console, found, _PARTIAL if only or quick else _RESULT)


@contextmanager
def _kept(console: Console, found: Found) -> Iterator[None]:
    """Whatever ends a run, what it had measured by then is published."""
    try:
        yield
    except BaseException:
        if found.figures:
            _publish(console, found, _PARTIAL)
            console.print(f"What was measured before is in {_PARTIAL}", highlight=False)
        raise


def _measure(progress: Progress, folder: Path, wanted: set[str], found: Found, *, quick: bool) -> None:
    kinds = [name for name in KINDS if name in wanted]
    if not kinds:
        return
    progress.tell("starting the stack")
    begin_empty(folder, own=_FOLDER)
    with Stack.start(folder, progress=progress.stack_event) as stack:
        run = Bench(stack, platform_of(stack), quick, progress.tell)
        found.conditions.update({"load average before": _load_average(), "one core": _speed()})
        found.conditions.update(asyncio.run(settings_in_force(run)))
        for name in kinds:
            try:
                found.figures.extend(KINDS[name](run))
            except TimeoutError as error:
                where = stack.log("api").parent
                raise BenchError(
                    f"{name}: what was waited for did not come in time; see the logs in {where}"
                ) from error
        found.conditions["load average after"] = _load_average()


def _demo_times(progress: Progress, wanted: set[str], found: Found) -> None:
    if "demo" not in wanted:
        return
    progress.tell("demo: a warm run, its output in build/demo.log")
    _DEMO.parent.mkdir(exist_ok=True)
    env = {name: value for name, value in os.environ.items() if name != "KEEP"}  # or it would leave a stack
    with Path("build/demo.log").open("wb") as log:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "cli.main", "demo"], stdout=log, stderr=log, env=env, check=False
        )
    if ended.returncode != 0:
        raise BenchError(f"the demo failed (exit {ended.returncode}); build/demo.log says why")
    found.figures.append(Figure("demo_warm_s", json.loads(_DEMO.read_bytes())["seconds"], "s"))
    _cold_demo(found)


def _cold_demo(found: Found) -> None:
    """The demo on a bare machine is another program's to run, as root; what it wrote is shown with its moment."""
    if not _DEMO_COLD.exists():
        found.conditions["demo_cold_s"] = "not measured here: deploy/chroot-demo.sh does, as root"
        return
    at = datetime.fromtimestamp(_DEMO_COLD.stat().st_mtime, UTC)
    found.conditions["demo_cold_s"] = f"measured by deploy/chroot-demo.sh at {at:%Y-%m-%d %H:%M} UTC"
    found.figures.append(Figure("demo_cold_s", json.loads(_DEMO_COLD.read_bytes())["seconds"], "s"))


def _publish(console: Console, found: Found, path: Path) -> None:
    figures = found.figures
    for name, value in found.conditions.items():
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
