"""`medialane partitions simulate`: what other partitions, placements, lanes or workers would make of the same jobs."""

import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from cli.partitions.material import Base, by_hash, from_history, from_mix
from cli.partitions.moving import planned
from cli.partitions.options import AS_JSON, Duration, Numbers, table
from schemas.topics import IMAGE_JOBS, JOB_TOPICS
from streams.core.lane import Bounds
from streams.simulation.mix import EXAMPLE
from streams.simulation.model import Setup, Simulation
from streams.simulation.outcome import Outcome, Span, error, outcome

_ROUTES = list(dict.fromkeys(topic.route for topic in JOB_TOPICS.values()))
_MOST_SETUPS = 64
_CREDITS = 64


class _Numbers(NamedTuple):
    """The numbers of one setup; `credits` None: each tenant has its own; `slots` None: see `Base`."""

    partitions: int
    running: int
    credits: int | None
    workers: int
    slots: int | None


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
@_numbers("workers", "How many worker processes there are. 1 unless given: a history does not know how many it had.")
@_numbers(
    "slots",
    "Most jobs at once in each worker. Unless given: of a history, the most that ever ran at once in all workers, "
    "divided among --workers; of a mix, what a worker would have here.",
)
@click.option(
    "--check", is_flag=True,
    help="Predict the history itself, and say how far that is off; with --workers, as many as it had. Exit code 0.",
)  # fmt: skip
@AS_JSON
def simulate(example: bool, mix: Path | None, seed: int, topic: str, window: float, **options: Any) -> None:
    """Run the recorded jobs again in simulated time, with other numbers, through the workers' own lanes.

    Each job is made when it was made, in the class that it had, and holds a slot for as long as it did: so more workers
    of so many --slots stand for more machines like those of the history, and more slots for more cores. --workers alone
    divides the slots that there were.

    C, unless --running is given, and the lanes' window are what `medialane lanes` has set for the topic, else what the
    workers' MEDIALANE_WORKER_LANE_* say, if they are set here as they are there; each line names them.

    Predicts throughput, waits until the start, and fairness (Jain's index over tenants of how fast their jobs went: 1
    is even).
    """
    if example:
        click.echo(EXAMPLE, nl=False)
        return
    base = from_mix(mix, seed) if mix else from_history(topic, window)
    wanted = _combinations(base, options)
    rows: list[dict[str, Any]] = []
    if base.recorded is not None:
        rows.append({"what": "recorded", **msgspec.to_builtins(base.recorded)})
    for setup, words in wanted[:1] if options["check"] else wanted:
        click.echo(f"simulating {len(base.jobs)} jobs: {words}", err=True)
        if options["check"]:
            rows += _check(base, setup)
        else:
            rows.append({"what": words, **msgspec.to_builtins(_predict(base, setup))})
    _print(rows, as_json=options["as_json"])


def _combinations(base: Base, options: Mapping[str, Any]) -> list[tuple[Setup, str]]:
    """A setup for every combination of the numbers that were given, each with its description."""
    own = _Numbers(base.situation.partitions, base.bounds[0], None, 1, None)
    lists = {name: options[name] or (number,) for name, number in own._asdict().items()}
    if any(number < 1 for name in own._fields for number in options[name] or ()):
        raise click.UsageError("every number has to be at least 1")
    if math.prod(map(len, lists.values())) > _MOST_SETUPS:
        raise click.UsageError(f"that are more than {_MOST_SETUPS} combinations")
    where = options["placement"] or _placement(base, options)
    if where == "recorded":
        _check_recorded(base, min(lists["partitions"]))
    return [_setup(base, _Numbers(*numbers), where) for numbers in itertools.product(*lists.values())]


def _placement(base: Base, options: Mapping[str, Any]) -> str:
    """Jobs that stay where they were sent, or tenants where they are, tell nothing of another number of partitions."""
    if options["partitions"] and not options["check"]:
        return "planned"
    return "recorded" if base.recorded else "now"


def _check_recorded(base: Base, partitions: int) -> None:
    if base.recorded is None:
        raise click.UsageError("a mix has no recorded placement")
    if (last := max(job.kpart for job in base.jobs)) >= partitions:
        raise click.UsageError(f"jobs were sent to partition {last}: recorded needs {last + 1} partitions or more")


def _setup(base: Base, numbers: _Numbers, where: str) -> tuple[Setup, str]:
    partitions = numbers.partitions
    if where == "planned":
        found = msgspec.structs.replace(base.situation, partitions=partitions, placed=_within(base.placed, partitions))
        placements = found.placed | {move.tenant: move.want for move in planned(found).moves}
    elif where == "hash":
        placements = {tenant: by_hash(tenant, partitions) for tenant in {job.tenant for job in base.jobs}}
    else:
        placements = _within(base.placed, partitions)
    missing = {job.tenant for job in base.jobs} - placements.keys()
    placements |= {tenant: by_hash(tenant, partitions) for tenant in missing}
    slots = numbers.slots or base.slots_of(numbers.workers)
    setup = Setup(
        partitions=partitions, bounds=Bounds.of(running=numbers.running, window=base.bounds[1]),
        credits=base.credits if numbers.credits is None else {},
        default_credits=_CREDITS if numbers.credits is None else numbers.credits,
        workers=numbers.workers, slots=slots, shares=base.shares,
        placements=None if where == "recorded" else placements, transport_s=base.transport_s,
    )  # fmt: skip
    shown = numbers._replace(slots=slots)._asdict()
    words = " ".join(f"{name}={'own' if number is None else number}" for name, number in shown.items())
    return setup, f"{words} lane_window={base.bounds[1]} placement={where}"


def _within(placed: Mapping[str, tuple[int, ...]], partitions: int) -> dict[str, tuple[int, ...]]:
    """Placements on fewer partitions than there are: what would not exist wraps around."""
    return {tenant: tuple(dict.fromkeys(kpart % partitions for kpart in kparts)) for tenant, kparts in placed.items()}


def _predict(base: Base, setup: Setup) -> Outcome:
    runs = Simulation(base.jobs, setup).run()
    return outcome(Span(r.job.tenant, r.job.made_at, r.started_at, r.finished_at, r.job.held_s) for r in runs)


def _check(base: Base, setup: Setup) -> list[dict[str, Any]]:
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
