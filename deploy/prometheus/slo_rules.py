# noqa: INP001 - a script, not a package
"""Writes rules/slo.yml from one table: each objective's error ratio over seven windows, and four burn-rate alerts.

    python deploy/prometheus/slo_rules.py > deploy/prometheus/rules/slo.yml

An alert fires when the error budget of 30 days burns too fast over a long window and still does over a short one
(Site Reliability Workbook, chapter 5). A test compares the committed file with what this prints.
"""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from schemas.metrics import (
    ASSET_READY_DURATION,
    HTTP_REQUEST_DURATION,
    HTTP_REQUESTS,
    JOBS_FINISHED,
    SLO_TARGETS,
    WEBHOOK_FIRST_ATTEMPT_AGE,
    HistogramSpec,
)

_HEADER = "# Made by slo_rules.py from its table; edit that instead.\n"
RUNBOOKS = "docs/runbooks.md"


# Of clients: /readyz answers 503 as it should, and machines ask these three however few others do.
_ASKED = 'route!~"/readyz|/healthz|/metrics"'


class Objective(NamedTuple):
    """`good` and `all` are selectors of counters; their rates' quotient is the share of good events."""

    slo: str
    summary: str
    good: str
    all: str


class Burn(NamedTuple):
    """Budget burnt `factor` times too fast over both windows: `severity`."""

    factor: float
    long: str
    short: str
    severity: str


def _within(spec: HistogramSpec, bound_s: float, labels: str) -> tuple[str, str]:
    if bound_s not in spec.buckets:
        raise ValueError(f"{spec.name} has no bucket at {bound_s} s: it cannot tell how many were within")
    return f'{spec.name}_bucket{{{labels}le="{bound_s}"}}', f"{spec.name}_count{{{labels.rstrip(',')}}}"


OBJECTIVES = (
    Objective(
        "api_availability",
        "API requests are answered with 5xx",
        f'{HTTP_REQUESTS.name}{{{_ASKED},status_class!="5xx"}}',
        f"{HTTP_REQUESTS.name}{{{_ASKED}}}",
    ),
    Objective(
        "presign_latency",
        "Presign takes longer than 150 ms",
        *_within(HTTP_REQUEST_DURATION, 0.15, 'route="/api/v1/storage/presign",'),
    ),
    Objective(
        "image_ready",
        "Images take longer than 30 s from complete to ready",
        *_within(ASSET_READY_DURATION, 30.0, 'kind="image",'),
    ),
    Objective(
        "webhook_first_attempt",
        "The first webhook attempt comes later than 10 s after its event",
        *_within(WEBHOOK_FIRST_ATTEMPT_AGE, 10.0, ""),
    ),
    Objective(
        "job_success",
        "Jobs fail that their input is not to blame for",
        # A permanent error is the input's own; it counts as neither good nor bad.
        f'{JOBS_FINISHED.name}{{outcome="done"}}',
        f'{JOBS_FINISHED.name}{{error_class!="permanent"}}',
    ),
)
BURNS = (
    Burn(14.4, "1h", "5m", "page"),
    Burn(6, "6h", "30m", "page"),
    Burn(3, "1d", "2h", "ticket"),
    Burn(1, "3d", "6h", "ticket"),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def _records(objective: Objective) -> Iterator[dict[str, Any]]:
    for window in WINDOWS:
        yield {
            "record": f"slo:error_ratio:{window}",
            "labels": {"slo": objective.slo},
            # Without `or vector(0)` nothing would be known while not one event is good.
            "expr": f"1 - (sum(rate({objective.good}[{window}])) or vector(0)) / sum(rate({objective.all}[{window}]))",
        }


def _alerts(objective: Objective) -> Iterator[dict[str, Any]]:
    budget = 1 - SLO_TARGETS[objective.slo]
    name = "".join(word.capitalize() for word in objective.slo.split("_")) + "BudgetBurn"
    for burn in BURNS:
        limit = f"{burn.factor * budget:.6g}"
        long, short = (f'slo:error_ratio:{window}{{slo="{objective.slo}"}}' for window in (burn.long, burn.short))
        yield {
            "alert": name,
            "expr": f"{long} > {limit} and {short} > {limit}",
            "labels": {"severity": burn.severity, "window": burn.long},
            "annotations": {
                "summary": objective.summary,
                "description": f"The error budget of 30 days burns {burn.factor:g} times too fast "
                f"(share of bad events over {burn.long}: {{{{ $value | humanizePercentage }}}}).",
                "runbook_url": f"{RUNBOOKS}#{name.lower()}",
            },
        }


def render() -> str:
    """The rule file's text."""
    groups = [
        {"name": f"slo-{objective.slo}", "rules": [*_records(objective), *_alerts(objective)]}
        for objective in OBJECTIVES
    ]
    return _HEADER + yaml.safe_dump({"groups": groups}, sort_keys=False, width=200)


if __name__ == "__main__":
    sys.stdout.write(render())
