"""`medialane partitions plan|apply|move`: where tenants should be, and bringing them there."""

from pathlib import Path
from typing import IO
from uuid import UUID

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.common.numbers import Finite
from cli.partitions.options import DRY_RUN, PLACED, WINDOW, Numbers, table
from connectors.postgres import audit
from connectors.postgres.accounts.tenants import find_tenant
from connectors.postgres.placement import placements
from connectors.postgres.placement.placements import PlacementError, named
from connectors.postgres.protocol.job_history import tenant_loads
from schemas.topics import EVENTS
from streams.placement import planner

TOLERANCE = 0.25
"""How far above the mean a partition may be before tenants are moved off it."""


class PlannedMove(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a plan's file: a tenant's partitions as they were when it was made, and as they should be."""

    tenant_id: UUID
    tenant: str
    topic: str
    have: tuple[int, ...]
    want: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.tenant}: {self.topic} from {named(self.have)} to {named(self.want)}"


class PlanFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `plan --out` writes and `apply` reads; may be edited in between."""

    moves: tuple[PlannedMove, ...]


@click.command()
@click.option("--topic", "topics", type=click.Choice(PLACED), multiple=True, help="Only this topic; may be repeated.")
@WINDOW
@click.option(
    "--tolerance", type=Finite(min=0), default=TOLERANCE, show_default=True,
    help="How far above the mean a partition may be, as a part of it.",
)  # fmt: skip
@click.option("--most-moves", type=click.IntRange(min=0), help="Move no more tenants than this, per topic.")
@click.option("--out", type=click.File("wb"), help="Write the plan to a file, for `apply`.")
def plan(
    topics: tuple[str, ...], window: float, tolerance: float, most_moves: int | None, out: IO[bytes] | None
) -> None:
    """Say who should move so that partitions cost about the same. Changes nothing.

    Costs are the CPU seconds of the window's finished jobs. A tenant that is more than a partition's share is split
    into buckets: its assets spread over several partitions.
    """
    moves: list[PlannedMove] = []
    for topic, found in in_transaction(lambda connection: situations(connection, window)).items():
        if topic not in (topics or PLACED) or not found.tenants:
            continue
        made = planned(found, tolerance=tolerance, most_moves=most_moves)
        moves += [
            PlannedMove(tenant_id=found.tenants[move.tenant], tenant=move.tenant, topic=topic, have=move.have,
                        want=move.want)
            for move in made.moves
        ]  # fmt: skip
        click.echo(f"\n{topic}: {_judgement(found, made)}")
        rows = [(k, f"{b:.1f}", f"{a:.1f}") for k, (b, a) in enumerate(zip(made.before, made.after, strict=True))]
        unit = "jobs" if topic == EVENTS.route else "CPU s"
        click.echo(table(("partition", f"{unit} now", "then"), rows))
        for move in made.moves:
            click.echo(f"~ {move.tenant}: from {named(move.have)} to {named(move.want)}")
    if out is not None:
        out.write(msgspec.json.format(msgspec.json.encode(PlanFile(moves=tuple(moves))), indent=2) + b"\n")
        click.echo(f"\n{len(moves)} moves written to {out.name}. Next: medialane partitions apply {out.name}", err=True)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@DRY_RUN
def apply(file: Path, dry_run: bool) -> None:
    """Make the moves of a plan's FILE, all or none.

    A tenant that is not where the plan saw it stops everything: plan again. Records that were sent stay where they are.
    """
    _make(read_plan(file).moves, dry_run=dry_run)


@click.command()
@click.argument("tenant")
@click.option("--topic", type=click.Choice(PLACED), required=True, help="Which of its topics.")
@click.option(
    "--to", "kparts", type=Numbers(), required=True, help="A partition; or several, comma separated: a bucket on each."
)
@DRY_RUN
def move(tenant: str, topic: str, kparts: tuple[int, ...], dry_run: bool) -> None:
    """Move TENANT (its slug) to a partition, or spread it over several.

    From the next record on. Jobs that were dispatched are done where they are; an asset's events stay on the
    partition that it began with, so their order holds.
    """

    async def look(connection: AsyncConnection) -> PlannedMove:
        tenant_id = (await find_tenant(connection, tenant)).id
        found = await placements.read_placements(connection)
        have = next((p.kparts for p in found if p.tenant_id == tenant_id and p.topic == topic), ())
        return PlannedMove(tenant_id=tenant_id, tenant=tenant, topic=topic, have=have, want=kparts)

    wanted = in_transaction(look)
    if wanted.have == wanted.want:
        click.echo(f"= {tenant} is on {named(kparts)} of {topic} already")
        return
    _make((wanted,), dry_run=dry_run)


class _TakenBack(Exception):  # noqa: N818 - ends a transaction, tells of no error
    """Everything was tried, and is undone: a dry run finds what the real one would."""


class Situation(msgspec.Struct):
    """A topic as a plan sees it: tenants by slug, where they are, and what they cost (jobs, for events)."""

    partitions: int
    tenants: dict[str, UUID] = msgspec.field(default_factory=dict)
    placed: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    loads: dict[str, float] = msgspec.field(default_factory=dict)


def read_plan(file: Path) -> PlanFile:
    """A plan's file. Raises `ClickException` if it is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=PlanFile)
    except msgspec.DecodeError as error:
        raise click.ClickException(f"{file} is no plan: {error}; make one with `partitions plan --out`") from error


def planned(found: Situation, *, tolerance: float = TOLERANCE, most_moves: int | None = None) -> planner.Plan:
    """The plan for a topic."""
    return planner.plan(found.placed, found.loads, found.partitions, tolerance=tolerance, most_moves=most_moves)


async def situations(connection: AsyncConnection, window_s: float) -> dict[str, Situation]:
    """Every placed topic that has confirmed partitions, with the costs of the last `window_s` seconds."""
    counts = await placements.confirmed_partitions(connection)
    found = {topic: Situation(counts[topic]) for topic in PLACED if topic in counts}
    for placed in await placements.read_placements(connection):
        found[placed.topic].tenants[placed.slug] = placed.tenant_id
        found[placed.topic].placed[placed.slug] = placed.kparts
    for load in await tenant_loads(connection, window_s=window_s):
        # Events are made by jobs: who has many jobs has many events, whatever each costs.
        for topic, amount in ((load.topic, load.cpu_s), (EVENTS.route, float(load.jobs))):
            if topic in found:
                loads = found[topic].loads
                loads[load.slug] = loads.get(load.slug, 0.0) + amount
    return found


def _judgement(found: Situation, made: planner.Plan) -> str:
    if not any(found.loads.values()):
        return "no job has ended in the window, so there is nothing to plan from"
    now, then = planner.skew(made.before), planner.skew(made.after)
    if not made.moves:
        return f"the fullest partition has {now:.2f} times the mean; nobody has to move"
    return f"the fullest partition has {now:.2f} times the mean, then {then:.2f}; {len(made.moves)} tenants move"


def _make(moves: tuple[PlannedMove, ...], *, dry_run: bool) -> None:
    async def make(connection: AsyncConnection) -> None:
        for wanted in moves:
            await placements.move(connection, wanted.tenant_id, wanted.topic, wanted.want, expected=wanted.have)
            await audit.note(
                connection, actor=audit.operator(), action="partitions.move", tenant_id=wanted.tenant_id,
                subject=wanted.topic, detail={"from": wanted.have, "to": wanted.want},
            )  # fmt: skip
        if dry_run:
            raise _TakenBack

    try:
        in_transaction(make)
    except _TakenBack:
        pass
    except PlacementError as error:
        raise click.ClickException(f"nothing was moved: {error}") from error
    for wanted in moves:
        click.echo(f"{'would move' if dry_run else 'moved'} {wanted}")
    if not moves:
        click.echo("nothing to move", err=True)
    elif not dry_run:
        click.echo("From the next record on; what was sent before is handled where it is.", err=True)
