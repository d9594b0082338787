"""`medialane lanes`: how many jobs run at once per partition, how many records are fetched ahead; while workers run."""

from typing import Any

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.common.groups import Commands
from connectors.postgres.placement import tuning
from connectors.postgres.placement.tuning import LaneTuning
from schemas.settings import LANE_RUNNING_BOUNDS, LANE_WINDOW_BOUNDS, WorkerSettings
from schemas.topics import JOB_TOPICS

_ROUTES = list(dict.fromkeys(topic.route for topic in JOB_TOPICS.values()))  # kinds of media may share one
_DEFAULTS = {
    field.name: field.default for field in msgspec.structs.fields(WorkerSettings)
}  # of workers that were not told otherwise


@click.group(cls=Commands)
def lanes() -> None:
    """Lanes: what each partition of a job topic may run and hold.

    Values are kept in the database that MEDIALANE_DATABASE_URL names (worker role); every worker reads them every three
    seconds, and needs no restart. A topic without a value of its own follows each worker's MEDIALANE_WORKER_LANE_*.
    """


@lanes.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object of lanes and tenants.")
def show(as_json: bool) -> None:
    """Show each job topic's lanes, and which tenants have a share of their own."""
    found, shares = in_transaction(_everything)
    if as_json:
        click.echo(msgspec.json.encode({"lanes": found, "tenants": shares}).decode())
        return
    for lane in found:
        running = _told(lane.running, "lane_concurrency")
        click.echo(f"{lane.topic}  running {running}  window {_told(lane.window, 'lane_window')}")
    click.echo("tenants: weight 1, no cap" + (", but:" if shares else ""))
    for share in shares:
        click.echo(f"  {share.slug}  weight {share.weight:g}  cap {share.cap or 'none'}")


@lanes.command("set")
@click.argument("topic", type=click.Choice(_ROUTES))
@click.option("--running", type=click.IntRange(*LANE_RUNNING_BOUNDS), help="Jobs at once per partition.")
@click.option(
    "--window", type=click.IntRange(*LANE_WINDOW_BOUNDS), help="Records fetched and not yet started, per partition."
)
@click.option("--reset", is_flag=True, help="Follow each worker's own settings again.")
def change(topic: str, running: int | None, window: int | None, reset: bool) -> None:
    """Change a topic's lanes; what is not named stays as it is. Workers follow within seconds."""
    if reset == (running is not None or window is not None):
        raise click.UsageError("name --running, --window or both, or --reset alone")

    async def write(connection: AsyncConnection) -> LaneTuning:
        if reset:
            await tuning.untune_lanes(connection, topic)
            return LaneTuning(topic=topic)
        return await tuning.tune_lanes(connection, topic, running=running, window=window)

    lane = in_transaction(write)
    running_now = _told(lane.running, "lane_concurrency")
    click.echo(f"{lane.topic}  running {running_now}  window {_told(lane.window, 'lane_window')}")


async def _everything(connection: AsyncConnection) -> tuple[list[LaneTuning], tuple[tuning.TenantShare, ...]]:
    tuned = {lane.topic: lane for lane in await tuning.lane_tunings(connection)}
    lanes_ = [tuned.get(route, LaneTuning(topic=route)) for route in _ROUTES]
    return lanes_, await tuning.tenant_shares(connection)


def _told(value: int | None, setting: str) -> str:
    default: Any = _DEFAULTS[setting]
    return str(value) if value is not None else f"as each worker is set ({default} by default)"
