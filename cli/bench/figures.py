"""What a figure is, which goal it has, what the reference system does, and how all of it is printed."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple


class Figure(NamedTuple):
    """One measured value with its unit."""

    name: str
    value: float
    unit: str


class Goal(NamedTuple):
    """A bound that a figure should keep."""

    sense: Literal[">=", "<="]
    bound: float

    def met(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return value >= self.bound if self.sense == ">=" else value <= self.bound


GOALS: dict[str, Goal] = {
    "image_ratio_to_bare_loop": Goal(">=", 0.90),
    "noop_jobs_per_s": Goal(">=", 5000),
    "lane_rss_growth_mb": Goal("<=", 10),
    "db_jobs_per_s": Goal(">=", 400),
    "quiet_wait_p95_job_lengths": Goal("<=", 2),
    "image_jobs_per_s": Goal(">=", 2 * 3.8),
    "image_cpu_s_per_job": Goal("<=", 0.24),
    "image_cpu_vs_naive": Goal(">=", 3.5),
    "image_cpu_vs_floor": Goal("<=", 1.35),
    "image_child_rss_mb": Goal("<=", 100),
    "children_scaling": Goal(">=", 1.8),
    "video_jobs_per_s": Goal(">=", 1.4 * 0.25),
    "video_cpu_vs_separate": Goal(">=", 1.3),
    "video_cpu_vs_floor": Goal("<=", 1.1),
    "hls_cpu_vs_separate": Goal(">=", 1.3),
    "storyboard_cpu_vs_full": Goal(">=", 4.0),
    "commit_to_kafka_p50_ms": Goal("<=", 10),
    "commit_to_kafka_p99_ms": Goal("<=", 40),
    "complete_to_webhook_overhead_p50_ms": Goal("<=", 40),
    "complete_to_webhook_overhead_p99_ms": Goal("<=", 120),
    "presign_per_s": Goal(">=", 1000),
    "presign_per_s_64_clients": Goal(">=", 1000),
    "presign_ratio_to_bare": Goal(">=", 0.8),
    "presign_ratio_to_bare_64_clients": Goal(">=", 0.8),
    "presign_half_load_p99_ms": Goal("<=", 60),
    "complete_per_s": Goal(">=", 500),
    "complete_per_s_64_clients": Goal(">=", 500),
    "webhooks_per_s": Goal(">=", 1000),
    "webhooks_ratio_to_bare_loop": Goal(">=", 0.5),
    "webhooks_slow_receivers_per_s": Goal(">=", 250),
    "demo_warm_s": Goal("<=", 45),
}

# The system that users would pick today (see docs), on a machine of the same kind: 2 cores, no containers.
REFERENCE: dict[str, float] = {
    "image_jobs_per_s": 3.8,
    "image_cpu_s_per_job": 0.437,
    "video_jobs_per_s": 0.25,
    "video_cpu_s_per_job": 7.1,
    "complete_to_webhook_p50_ms": 1993,
    "complete_to_webhook_p95_ms": 2870,
    "complete_to_webhook_p99_ms": 2967,
    "presign_per_s": 217,
    "complete_per_s": 156,
    "webhooks_per_s": 24.6,
    "webhooks_slow_receivers_per_s": 22.5,
}


def quantile(values: Sequence[float], q: int) -> float:
    """The nearest-rank percentile."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("nothing was measured")
    return ordered[max(0, math.ceil(q / 100 * len(ordered)) - 1)]


def quantiles(prefix: str, seconds: Sequence[float], wanted: Iterable[int] = (50, 95, 99)) -> list[Figure]:
    """The nearest-rank percentiles of durations (seconds) as figures in milliseconds, `<prefix>_p50_ms` and so on."""
    if not seconds:
        raise ValueError(f"nothing was measured for {prefix}")
    return [Figure(f"{prefix}_p{q}_ms", quantile(seconds, q) * 1000, "ms") for q in wanted]


def line(figure: Figure) -> str:
    """`name value unit`, as it goes to standard output."""
    return f"{figure.name} {figure.value:.4g} {figure.unit}"


def verdict(figure: Figure) -> str:
    """Goal and reference beside a figure, for people; empty where there is neither."""
    parts = []
    goal = GOALS.get(figure.name)
    if goal is not None:
        parts.append(f"goal {goal.sense} {goal.bound:g}: {'met' if goal.met(figure.value) else 'NOT MET'}")
    reference = REFERENCE.get(figure.name)
    if reference:
        parts.append(f"reference {reference:g} ({figure.value / reference:.2f}x)")
    return ", ".join(parts)
