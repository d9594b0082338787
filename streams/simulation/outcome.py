"""Figures of runs, simulated or recorded alike, and how far a prediction is off."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

_ROUNDING_S = 1e-5  # of differences between times since 1970


class Span(NamedTuple):
    """What one job saw: times on one clock, `held_s` is how long it had a slot."""

    tenant: str
    made_at: float
    started_at: float
    finished_at: float
    held_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a run. Waits are from a job's making to its start, seconds.

    `tenant_p95_s` is the median over tenants of each one's 95th percentile: one that queued thousands at once does not
    hide the others. `fairness` is Jain's index over tenants of how fast their jobs went beside an empty platform: 1
    when all were slowed alike, 1/n when one of n tenants had everything.
    """

    jobs: int
    jobs_per_s: float
    wait_p50_s: float
    wait_p95_s: float
    tenant_p95_s: float
    fairness: float
    most_at_once: int


def outcome(spans: Iterable[Span]) -> Outcome:
    """The figures. Raises `ValueError` without a single job."""
    found = list(spans)
    if not found:
        raise ValueError("no jobs, no figures")
    waits = sorted(max(0.0, span.started_at - span.made_at) for span in found)
    took = max(span.finished_at for span in found) - min(span.made_at for span in found)
    paces: dict[str, list[float]] = {}
    by_tenant: dict[str, list[float]] = {}
    for span in found:
        by_tenant.setdefault(span.tenant, []).append(max(0.0, span.started_at - span.made_at))
        there = span.finished_at - span.made_at
        paces.setdefault(span.tenant, []).append(min(1.0, span.held_s / there) if there > 0 else 1.0)
    return Outcome(
        jobs=len(found),
        jobs_per_s=len(found) / took if took > 0 else math.inf,
        wait_p50_s=_quantile(waits, 0.5),
        wait_p95_s=_quantile(waits, 0.95),
        tenant_p95_s=_quantile(sorted(_quantile(sorted(mine), 0.95) for mine in by_tenant.values()), 0.5),
        fairness=jain([sum(values) / len(values) for values in paces.values()]),
        most_at_once=most_at_once([(span.finished_at - span.held_s + _ROUNDING_S, span.finished_at) for span in found]),
    )


def jain(values: Sequence[float]) -> float:
    """Jain's fairness index: 1 for equal values, 1/n if only one of n is not 0."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares > 0 else 1.0


def most_at_once(intervals: Iterable[tuple[float, float]]) -> int:
    """The most intervals that overlap at any moment; one that ends when another begins does not overlap it."""
    edges = sorted((at, change) for start, end in intervals if end > start for at, change in ((start, 1), (end, -1)))
    most = current = 0
    for _, change in edges:
        current += change
        most = max(most, current)
    return max(most, 1)


def error(predicted: float, real: float) -> float:
    """How far a prediction is off, as a part of what was real; infinite where that was nothing and this is not."""
    if real == 0:
        return 0.0 if abs(predicted) < 1e-9 else math.inf
    return abs(predicted - real) / abs(real)


def _quantile(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]
