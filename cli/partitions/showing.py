"""`medialane partitions show|skew`: what is on each partition, and who would be under another plan."""

import asyncio
import os
from pathlib import Path
from typing import Any

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.partitions.moving import planned, read_plan, situations
from cli.partitions.options import AS_JSON, PLACED, WINDOW, table
from connectors.kafka.admin import TopicsError
from connectors.kafka.offsets import Progress, progress
from connectors.postgres.placement.partition_views import PartitionState, TenantCost, partition_states, tenant_costs
from connectors.postgres.placement.placements import Placed, confirmed_partitions, read_placements
from schemas.settings import KafkaSettings, SettingsError, load
from schemas.states import MediaKind
from schemas.topics import EVENTS, JOB_TOPICS
from streams.placement.planner import partition_loads, skew

_GROUPS = {JOB_TOPICS[MediaKind.IMAGE].route: "media-images", JOB_TOPICS[MediaKind.VIDEO].route: "media-video"}
_MOST_NAMED = 4

_Rows = tuple[dict[str, int], list[Placed], list[PartitionState], list[TenantCost]]


@click.command()
@click.option("--topic", type=click.Choice(list(_GROUPS)), help="Only this topic.")
@WINDOW
@AS_JSON
def show(topic: str | None, window: float, as_json: bool) -> None:
    """Show each partition: records open in Kafka, jobs by state, tenants, and who used its CPU seconds.

    `open` is what the workers' group has not committed (with MEDIALANE_KAFKA_*; `?` without, or while the cluster is
    away); the rest is from the rows. `head` is the age of the oldest dispatch that nobody has claimed.
    """

    async def read(connection: AsyncConnection) -> _Rows:
        return (
            await confirmed_partitions(connection), await read_placements(connection),
            await partition_states(connection), await tenant_costs(connection, window_s=window),
        )  # fmt: skip

    found = in_transaction(read)
    views = [view for route in _GROUPS if route == (topic or route) for view in _views(route, found, _offsets(route))]
    if as_json:
        click.echo(msgspec.json.encode(views).decode())
        return
    for route in dict.fromkeys(view["topic"] for view in views):
        click.echo(f"\n{route}")
        headings = ("partition", "open", "head s", "queued", "running", "waiting", "tenants", "CPU s", "of whom")
        click.echo(table(headings, [_row(view) for view in views if view["topic"] == route]))


@click.command("skew")
@click.option("--topic", type=click.Choice(PLACED), help="Only this topic.")
@WINDOW
@click.option(
    "--plan", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A plan's file; the plan that `partitions plan` makes now, unless given.",
)  # fmt: skip
def show_skew(topic: str | None, window: float, file: Path | None) -> None:
    """Show who is on which partition and at what cost, now and under another plan. Changes nothing."""
    moves = None if file is None else read_plan(file).moves
    for route, found in in_transaction(lambda connection: situations(connection, window)).items():
        if route != (topic or route) or not found.tenants:
            continue
        if moves is None:
            other = {move.tenant: move.want for move in planned(found).moves}
        else:
            other = {move.tenant: move.want for move in moves if move.topic == route and move.tenant in found.placed}
        then = found.placed | other
        now_loads = partition_loads(found.placed, found.loads, found.partitions)
        then_loads = partition_loads(then, found.loads, found.partitions)
        unit = "jobs" if route == EVENTS.route else "CPU s"
        click.echo(f"\n{route}: the fullest has {skew(now_loads):.2f} times the mean; then {skew(then_loads):.2f}")
        rows = [
            (k, f"{now_loads[k]:.1f}", f"{then_loads[k]:.1f}", _on(found.placed, k), _on(then, k))
            for k in range(found.partitions)
        ]
        click.echo(table(("partition", f"{unit} now", "then", "tenants now", "then"), rows))


def _offsets(route: str) -> dict[int, Progress]:
    try:
        kafka = load(KafkaSettings, os.environ)
    except SettingsError:
        return {}
    try:
        name = f"{kafka.topic_prefix}.{route}"
        return asyncio.run(progress(kafka, f"{kafka.topic_prefix}-{_GROUPS[route]}", name))
    except TopicsError as error:
        click.echo(f"open records are not known: {error}", err=True)
        return {}


def _views(route: str, found: _Rows, offsets: dict[int, Progress]) -> list[dict[str, Any]]:
    counts, placed, states, costs = found
    views = []
    unplaced = any(state.topic == route and state.kpart is None for state in states)
    for kpart in [*range(counts.get(route, 0)), *([None] if unplaced else [])]:
        state = next(
            (one for one in states if (one.topic, one.kpart) == (route, kpart)),
            PartitionState(route, kpart, 0, 0, 0, 0.0),
        )
        mine = [cost for cost in costs if (cost.topic, cost.kpart) == (route, kpart)]
        total = sum(cost.cpu_s for cost in mine)
        views.append(
            {
                "topic": route, "partition": kpart,
                "open_records": None if kpart not in offsets else offsets[kpart].open_records,
                "head_age_s": round(state.head_age_s, 3), "queued": state.queued, "running": state.running,
                "waiting": state.waiting,
                "tenants": sorted(one.slug for one in placed if one.topic == route and kpart in one.kparts),
                "cpu_s": round(total, 3),
                "shares": {cost.slug: round(cost.cpu_s / total, 4) if total else 0.0 for cost in mine},
            }
        )  # fmt: skip
    return views


def _row(view: dict[str, Any]) -> tuple[object, ...]:
    shares = [f"{slug} {share:.0%}" for slug, share in view["shares"].items()]
    return (
        "by hash" if view["partition"] is None else view["partition"],
        "?" if view["open_records"] is None else view["open_records"],
        f"{view['head_age_s']:.1f}", view["queued"], view["running"], view["waiting"], len(view["tenants"]),
        f"{view['cpu_s']:.1f}", _some(shares),
    )  # fmt: skip


def _on(placed: dict[str, tuple[int, ...]], kpart: int) -> str:
    return _some(sorted(slug for slug, kparts in placed.items() if kpart in kparts))


def _some(words: list[str]) -> str:
    more = len(words) - _MOST_NAMED
    return ", ".join(words[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "") if words else "-"
