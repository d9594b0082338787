"""Where an asset's time went, in one list: by the client's clock, Kafka's arrival, the job's report, the receiver."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cli.harness.receiver import Received
from cli.harness.rows import EventRow, JobRow, OutboxRow
from cli.harness.witness import Witness
from schemas.records import DISPATCH_TYPE, HEADER_ID


class Step(NamedTuple):
    """A step of an asset's way: when it began (Unix seconds) and how long it took (seconds)."""

    name: str
    began: float
    seconds: float


def timeline(
    client_steps: Sequence[Step],
    *,
    outbox: Sequence[OutboxRow],
    jobs: Sequence[JobRow],
    events: Sequence[EventRow],
    witness: Witness,
    received: Sequence[Received],
) -> list[Step]:
    """Every step in the order in which it began. All clocks are this machine's."""
    steps = list(client_steps)
    arrived: dict[str, float] = {}
    for row in outbox:
        records = witness.find(HEADER_ID, str(row.id)) if row.type == DISPATCH_TYPE else []
        if records:
            arrived[row.subject_id] = records[0].arrived
            steps.append(_between("outbox to Kafka", _unix(row.created_at), records[0].arrived))
    for job in jobs:
        if job.started_at is not None and str(job.id) in arrived:
            steps.append(_between("wait in lane", arrived[str(job.id)], _unix(job.started_at)))
        steps += [
            Step(f"{job.stage}: {stage['name']}", stage["started_at_unix"], stage["seconds"])
            for stage in (job.report or {}).get("stages", [])
        ]
    ready = next((_unix(event.created_at) for event in events if event.type == "asset.ready"), None)
    told = next((one.arrived for one in received if one.event_type == "asset.ready"), None)
    if ready is not None and told is not None:
        steps.append(_between("webhook asset.ready", ready, told))
    return sorted(steps, key=lambda step: step.began)


def _between(name: str, began: float, ended: float) -> Step:
    return Step(name, began, max(ended - began, 0.0))


def _unix(moment: datetime) -> float:
    return moment.timestamp()
