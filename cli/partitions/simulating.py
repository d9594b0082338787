"""`medialane partitions simulate`: what other partitions, placements, lanes or workers would make of the same jobs."""

import itertools
import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.database import in_transaction
from cli.partitions.moving import Situation, planned, situations
from cli.partitions.options import AS_JSON, Duration, Numbers, table
from connectors.postgres import tuning
from connectors.postgres.job_history import FinishedJob, finished_jobs
from connectors.postgres.placements import tenant_credits
from schemas.settings import WorkerSettings
from schemas.topics import IMAGE_JOBS, JOB_TOPICS
from streams.core.lane import Bounds
from streams.core.roundrobin import Share, Shares
from streams.simulation.mix import EXAMPLE, MixError, jobs_of, read_mix
from streams.simulation.model import Job, Setup, Simulation
from streams.simulation.outcome import Outcome, Span, error, outcome

_ROUTES = list(dict.fromkeys(topic.route for topic in JOB_TOPICS.values()))
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(WorkerSettings)}
_MOST_SETUPS = 64
_CREDITS = 64


class _History(msgspec.Struct):
    jobs: Sequence[FinishedJob]
    situation: Situation
    credits: Mapping[str, int]
    shares: Mapping[str, Share]
    running: int
    window: int


class _Numbers(NamedTuple):
    """The numbers of one setup; `credits` None: each tenant has its own."""

    partitions: int
    running: int
    credits: int | None
    workers: int
    slots: int


def _numbers(name: str, help_: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(f"--{name}", type=Numbers(), help=f"{help_} Several, comma separated, are all tried.")


@click.command()
@click.option("--topic", type=click.Choice(_ROUTES), default=IMAGE_JOBS.route, show_default=True, help="Whose history.")
@click.option("--window", type=Duration(), default="24h", show_default=True, help="How far back the history goes.")
@click.option(
    "--mix", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A file instead of a history."
)
@click.option("--example", is_flag=True, help="Print a mix to begin from, and do nothing else.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of a mix: other jobs of the same kind.")
@_numbers("partitions", "How many partitions the topic has.")
@click.option(
    "--placement", type=click.Choice(["recorded", "now", "planned", "hash"]),
    help="Where tenants are: as each job was sent, as they are now, as `partitions plan` wants them, or by hash. "
    "Unless given: planned with --partitions, else recorded (of a mix: now).",
)  # fmt: skip
@_numbers("running", "C: most jobs of a partition at once.")
@_numbers("credits", "M: most dispatches of a tenant at once, for every tenant.")
@_numbers("workers", "How many worker processes there are.")
@_numbers("slots", "Most jobs at once in each worker; of a history, unless given, as many as there ever were at once.")
@click.option("--check", is_flag=True, help="Predict the history itself, and say how far that is off. Exit code 0.")
@AS_JSON
def simulate(example: bool, mix: Path | None, seed: int, topic: str, window: float, **options: Any) -> None:
    """Run the recorded jobs again in simulated time, with other numbers, through the workers' own lanes.

    Each job is made when it was made, and holds a slot for as long as it did: so more workers stand for more machines
    like those of the history, and more slots for more cores. Predicts throughput, waits until the start, and fairness
    (Jain's index over tenants of how fast their jobs went: 1 is even).
    """
    if example:
        click.echo(EXAMPLE, nl=False)
        return
    base = _from_mix(mix, seed) if mix else _from_history(topic, window)
    wanted = _combinations(base, options)
    rows: list[dict[str, Any]] = []
    if base.recorded is not None:
        rows.append({"what": "recorded", **msgspec.to_builtins(base.recorded)})
    for setup, words in [] if options["check"] else wanted:
        click.echo(f"simulating {len(base.jobs)} jobs: {words}", err=True)
        rows.append({"what": words, **msgspec.to_builtins(_predict(base, setup))})
    if options["check"]:
        rows += _check(base, wanted[0][0])
    _print(rows, as_json=options["as_json"])


class _Base(msgspec.Struct):
    jobs: list[Job]
    placed: dict[str, tuple[int, ...]]
    situation: Situation
    credits: Mapping[str, int]
    shares: Shares
    bounds: tuple[int, int]
    slots: int
    transport_s: float
    recorded: Outcome | None = None


def _from_mix(file: Path, seed: int) -> _Base:
    try:
        mix = read_mix(file.read_text(encoding="utf-8"))
    except MixError as error_:
        raise click.ClickException(f"{file} is no mix: {error_}; begin from `partitions simulate --example`") from None
    placed = {tenant.name: tenant.partitions for tenant in mix.tenants if tenant.partitions}
    partitions = max([IMAGE_JOBS.partitions, *(kpart + 1 for kparts in placed.values() for kpart in kparts)])
    situation = Situation(partitions)
    for tenant in mix.tenants:
        jobs = tenant.burst + tenant.per_s * mix.duration_s
        situation.loads[tenant.name] = jobs * (tenant.cpu_s or tenant.seconds)
        situation.placed[tenant.name] = tenant.partitions or _by_hash(tenant.name, partitions)
    return _Base(
        jobs=jobs_of(mix, seed=seed), placed=situation.placed, situation=situation, credits={}, shares=Shares(),
        bounds=(_DEFAULTS["lane_concurrency"], _DEFAULTS["lane_window"]), slots=(os.cpu_count() or 1) + 1,
        transport_s=0.0,
    )  # fmt: skip


def _from_history(topic: str, window: float) -> _Base:
    until = datetime.now(UTC)

    async def read(connection: AsyncConnection) -> _History:
        found = (await situations(connection, window)).get(topic, Situation(0))
        lanes = {one.topic: one for one in await tuning.lane_tunings(connection)}
        mine = lanes.get(topic, tuning.LaneTuning(topic=topic))
        return _History(
            jobs=await finished_jobs(connection, topic, since=until - timedelta(seconds=window), until=until),
            situation=found,
            credits=await tenant_credits(connection),
            shares={one.slug: Share(one.weight, one.cap) for one in await tuning.tenant_shares(connection)},
            running=mine.running or _DEFAULTS["lane_concurrency"],
            window=mine.window or _DEFAULTS["lane_window"],
        )

    found = in_transaction(read)
    if not found.jobs:
        raise click.ClickException(f"no job of {topic} has ended in the window; give a longer --window, or a --mix")
    recorded = outcome(Span(j.tenant, j.created_at, j.started_at, j.finished_at, j.held_s) for j in found.jobs)
    shares = Shares()
    shares.replace(found.shares)
    placed = found.situation.placed
    first = min(job.created_at for job in found.jobs)
    jobs = [_job(job, first, placed, found.situation.partitions) for job in found.jobs]
    # The quickest tenth waited for nothing but the way from the row to the lane.
    waits = sorted(max(0.0, job.started_at - job.created_at) for job in found.jobs)
    return _Base(
        jobs=jobs, placed=placed, situation=found.situation, credits=found.credits, shares=shares,
        bounds=(found.running, found.window), slots=recorded.most_at_once, transport_s=waits[len(waits) // 10],
        recorded=recorded,
    )  # fmt: skip


def _job(job: FinishedJob, first: float, placed: Mapping[str, tuple[int, ...]], partitions: int) -> Job:
    spread = int(job.asset_id.hex[-7:], 16)
    kparts = placed.get(job.tenant) or _by_hash(job.tenant, partitions)
    kpart = kparts[spread % len(kparts)] if job.kpart is None else job.kpart
    return Job(job.tenant, job.created_at - first, job.held_s, job.cpu_s, spread, kpart)


def _by_hash(tenant: str, partitions: int) -> tuple[int, ...]:
    return (zlib.crc32(tenant.encode()) % max(1, partitions),)


def _combinations(base: _Base, options: Mapping[str, Any]) -> list[tuple[Setup, str]]:
    """A setup for every combination of the numbers that were given, each with its description."""
    own = _Numbers(base.situation.partitions, base.bounds[0], None, 1, base.slots)
    lists = {name: options[name] or (number,) for name, number in own._asdict().items()}
    if any(number < 1 for name in own._fields for number in options[name] or ()):
        raise click.UsageError("every number has to be at least 1")
    if math.prod(map(len, lists.values())) > _MOST_SETUPS:
        raise click.UsageError(f"that are more than {_MOST_SETUPS} combinations")
    where = options["placement"] or _placement(base, options)
    if where == "recorded":
        _check_recorded(base, min(lists["partitions"]))
    return [_setup(base, _Numbers(*numbers), where) for numbers in itertools.product(*lists.values())]


def _placement(base: _Base, options: Mapping[str, Any]) -> str:
    """Jobs that stay where they were sent, or tenants where they are, tell nothing of another number of partitions."""
    if options["partitions"] and not options["check"]:
        return "planned"
    return "recorded" if base.recorded else "now"


def _check_recorded(base: _Base, partitions: int) -> None:
    if base.recorded is None:
        raise click.UsageError("a mix has no recorded placement")
    if (last := max(job.kpart for job in base.jobs)) >= partitions:
        raise click.UsageError(f"jobs were sent to partition {last}: recorded needs {last + 1} partitions or more")


def _setup(base: _Base, numbers: _Numbers, where: str) -> tuple[Setup, str]:
    partitions = numbers.partitions
    if where == "planned":
        found = msgspec.structs.replace(base.situation, partitions=partitions, placed=_within(base.placed, partitions))
        placements = found.placed | {move.tenant: move.want for move in planned(found).moves}
    elif where == "hash":
        placements = {tenant: _by_hash(tenant, partitions) for tenant in {job.tenant for job in base.jobs}}
    else:
        placements = _within(base.placed, partitions)
    missing = {job.tenant for job in base.jobs} - placements.keys()
    placements |= {tenant: _by_hash(tenant, partitions) for tenant in missing}
    setup = Setup(
        partitions=partitions, bounds=Bounds.of(running=numbers.running, window=base.bounds[1]),
        credits=base.credits if numbers.credits is None else {},
        default_credits=_CREDITS if numbers.credits is None else numbers.credits,
        workers=numbers.workers, slots=numbers.slots, shares=base.shares,
        placements=None if where == "recorded" else placements, transport_s=base.transport_s,
    )  # fmt: skip
    words = " ".join(f"{name}={'own' if number is None else number}" for name, number in numbers._asdict().items())
    return setup, f"{words} placement={where}"


def _within(placed: Mapping[str, tuple[int, ...]], partitions: int) -> dict[str, tuple[int, ...]]:
    """Placements on fewer partitions than there are: what would not exist wraps around."""
    return {tenant: tuple(dict.fromkeys(kpart % partitions for kpart in kparts)) for tenant, kparts in placed.items()}


def _predict(base: _Base, setup: Setup) -> Outcome:
    runs = Simulation(base.jobs, setup).run()
    return outcome(Span(r.job.tenant, r.job.made_at, r.started_at, r.finished_at, r.job.held_s) for r in runs)


def _check(base: _Base, setup: Setup) -> list[dict[str, Any]]:
    if base.recorded is None:
        raise click.UsageError("--check needs a history, not a mix")
    predicted = _predict(base, setup)
    pairs = zip(Outcome.__struct_fields__, msgspec.structs.astuple(predicted), msgspec.structs.astuple(base.recorded),
                strict=True)  # fmt: skip
    off = {name: error(mine, real) for name, mine, real in pairs}
    return [{"what": "predicted", **msgspec.to_builtins(predicted)}, {"what": "error", **off}]


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    names = Outcome.__struct_fields__
    headings = ("", "jobs", "jobs/s", "wait p50 s", "wait p95 s", "a tenant's p95 s", "fairness", "at once")
    click.echo(
        table(headings, [(row["what"], *(_shown(row["what"], name, row[name]) for name in names)) for row in rows])
    )


def _shown(what: str, name: str, value: float) -> str:
    if what == "error":
        return "-" if math.isinf(value) else f"{value:.1%}"
    return str(value) if name in ("jobs", "most_at_once") else f"{value:.3f}"
