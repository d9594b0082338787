"""Prometheus objects of the catalogue (`schemas.metrics`), in a registry that the caller owns.

metrics = Metrics(CollectorRegistry(), process="api")
metrics.counter(HTTP_REQUESTS, "GET", "/api/v1/assets/{id}", "2xx").inc()
metrics.gauge(WEBHOOK_IN_FLIGHT).set(3)
metrics.histogram(EVENT_AGE, "media.events").observe(0.02)
metrics.watch_database(database)
metrics.render() -> bytes (Prometheus text format; content type in `CONTENT_TYPE`)
"""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from schemas.metrics import (
    BUILD_INFO,
    CATALOGUE,
    CLOCK_AHEAD,
    DB_POOL_IN_USE,
    DB_POOL_SIZE,
    SLO_TARGET,
    SLO_TARGETS,
    CounterSpec,
    GaugeSpec,
    HistogramSpec,
    Metric,
    Process,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Pool(Protocol):
    """What a connection pool tells about itself (SQLAlchemy's does)."""

    def size(self) -> int:
        """Most connections kept."""

    def checkedout(self) -> int:
        """Connections taken."""


class Watched(Protocol):
    """What a database tells about itself."""

    clock_ahead_s: float

    @property
    def pool(self) -> Pool:
        """Its connections."""


class Metrics:
    """A process's metrics.

    Those of the catalogue that name the process exist from the start, known label sets at zero, so that a rate over
    them is defined before the first event; any other is made when it is first used.
    """

    def __init__(self, registry: CollectorRegistry, *, process: Process) -> None:
        self.registry = registry
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for spec in CATALOGUE:
            if process in spec.processes:
                self._initialise(spec)
        self.gauge(BUILD_INFO, process, release()).set(1)
        for slo, target in SLO_TARGETS.items():
            self.gauge(SLO_TARGET, slo).set(target)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def counter(self, spec: CounterSpec, *labels: str) -> Counter:
        """The counter, or its child for label values in the catalogue's order; ValueError if they are not as many."""
        found = self._counters.get(spec.name)
        if found is None:
            found = self._counters[spec.name] = Counter(spec.name, spec.help, spec.labels, registry=self.registry)
        return found.labels(*labels) if spec.labels or labels else found

    def gauge(self, spec: GaugeSpec, *labels: str) -> Gauge:
        """The gauge, or its child for label values in the catalogue's order; ValueError if they are not as many."""
        found = self._gauges.get(spec.name)
        if found is None:
            found = self._gauges[spec.name] = Gauge(spec.name, spec.help, spec.labels, registry=self.registry)
        return found.labels(*labels) if spec.labels or labels else found

    def histogram(self, spec: HistogramSpec, *labels: str) -> Histogram:
        """The histogram, or its child for label values in the catalogue's order; ValueError if they are not as many."""
        found = self._histograms.get(spec.name)
        if found is None:
            found = self._histograms[spec.name] = Histogram(
                spec.name, spec.help, spec.labels, buckets=spec.buckets, registry=self.registry
            )
        return found.labels(*labels) if spec.labels or labels else found

    def forget(self, spec: GaugeSpec, *labels: str) -> None:
        """Drop a child, for example of a partition that was revoked: a stale gauge is worse than none."""
        found = self._gauges.get(spec.name)
        if found is not None:
            with suppress(KeyError):  # it was never shown
                found.remove(*labels)

    def watch_database(self, database: Watched) -> None:
        """Show at every scrape the pool's size and use, and how far the clocks were apart when they were compared."""
        self.gauge(DB_POOL_SIZE).set_function(database.pool.size)
        self.gauge(DB_POOL_IN_USE).set_function(database.pool.checkedout)
        self.gauge(CLOCK_AHEAD).set_function(lambda: database.clock_ahead_s)

    def render(self) -> bytes:
        """Every metric in Prometheus's text format."""
        return generate_latest(self.registry)

    def _initialise(self, spec: Metric) -> None:
        for labels in spec.known or (((),) if not spec.labels else ()):
            match spec:
                case CounterSpec():
                    self.counter(spec, *labels)
                case GaugeSpec():
                    self.gauge(spec, *labels)
                case HistogramSpec():
                    self.histogram(spec, *labels)


def release() -> str:
    """The installed version of the product."""
    try:
        return version("medialane")
    except PackageNotFoundError:
        return "unknown"


def status_class(status: int | None) -> str:
    """2xx, 3xx, 4xx, 5xx; none without an answer."""
    return "none" if status is None else f"{status // 100}xx"
