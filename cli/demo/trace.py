"""Follows one trace id from the answer to complete to the receiver: outbox, Kafka, job log, webhook."""

import json
from collections.abc import Sequence
from pathlib import Path

from cli.client.transport import trace_id
from cli.demo.verdicts import Checks
from cli.harness.receiver import Received
from cli.harness.rows import OutboxRow
from cli.harness.witness import Witness
from schemas.records import HEADER_ID, HEADER_TRACEPARENT

_BEFORE_COMPLETE = "asset.created"
"""The one event that belongs to the trace of presign."""


def logged_traces(logs: Path, process: str) -> set[str]:
    """The trace ids in a process's log lines."""
    found = set()
    for path in sorted(logs.glob(f"{process}*")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("{") and '"trace_id"' in line:
                    found.add(_field(line, "trace_id"))
    return found


def check_trace(
    checks: Checks,
    name: str,
    traceparent: str | None,
    *,
    outbox: Sequence[OutboxRow],
    witness: Witness,
    logged: set[str],
    received: Sequence[Received],
) -> None:
    """Every place that the work passed after complete carries complete's trace id."""
    trace = trace_id(traceparent)
    if not checks.that(trace is not None, f"{name}: complete answers with a traceparent, found {traceparent!r}"):
        return
    rows = [row for row in outbox if row.type != _BEFORE_COMPLETE]
    checks.that(bool(rows), f"{name}: has outbox rows")
    for row in rows:
        checks.that(trace_id(row.traceparent) == trace, f"{name}: outbox row {row.type} is in trace {trace}")
        records = witness.find(HEADER_ID, str(row.id))
        what = f"{name}: Kafka record of {row.type}"
        checks.that(len(records) == 1, f"{what} arrived once, found {len(records)}")
        for record in records:
            carried = trace_id(record.header(HEADER_TRACEPARENT))
            checks.that(carried == trace, f"{what} carries trace {trace}, found {carried}")
    checks.that(trace in logged, f"{name}: the worker's log has lines of trace {trace}")
    for one in received:
        if one.event_type != _BEFORE_COMPLETE:
            checks.that(one.trace_id == trace, f"{name}: webhook {one.event_type} carries trace {trace}")


def _field(line: str, name: str) -> str:
    try:
        return str(json.loads(line).get(name, ""))
    except ValueError:
        return ""
