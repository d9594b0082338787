"""The catalogue and the Prometheus objects made of it."""

import re

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from connectors.telemetry.http import TelemetryServer
from connectors.telemetry.metrics import Metrics, status_class
from schemas.metrics import (
    BUILD_INFO,
    CATALOGUE,
    CLOCK_AHEAD,
    DB_POOL_IN_USE,
    LANE_RUNNING,
    WEBHOOK_ATTEMPTS,
    WEBHOOK_IN_FLIGHT,
    CounterSpec,
    HistogramSpec,
)

FORBIDDEN_LABELS = {"tenant", "tenant_id", "asset", "asset_id", "job_id", "endpoint", "url", "path"}


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.name)
def test_the_catalogue_keeps_its_rules(spec):
    assert re.fullmatch(r"media_[a-z0-9_]+", spec.name)
    assert spec.help.endswith(".")
    assert spec.processes
    assert not set(spec.labels) & FORBIDDEN_LABELS
    assert all(len(known) == len(spec.labels) for known in spec.known)
    assert isinstance(spec, CounterSpec) == spec.name.endswith("_total")
    if isinstance(spec, HistogramSpec):
        assert list(spec.buckets) == sorted(set(spec.buckets))
        assert spec.name.endswith("_seconds")


def test_names_are_unique():
    names = [spec.name for spec in CATALOGUE]
    assert len(names) == len(set(names)) > 30


def samples(metrics):
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_known_label_sets_exist_before_the_first_event():
    shown = samples(Metrics(CollectorRegistry(), process="webhooks"))
    for outcome, status in WEBHOOK_ATTEMPTS.known:
        assert shown["media_webhook_attempts_total", (("outcome", outcome), ("status_class", status))] == 0
    assert shown["media_webhook_in_flight", ()] == 0
    assert any(name == BUILD_INFO.name and value == 1 for (name, _), value in shown.items())


def test_a_process_shows_only_its_own_metrics():
    shown = samples(Metrics(CollectorRegistry(), process="api"))
    assert not any(name.startswith(("media_webhook_", "media_jobs_")) for name, _ in shown)


def test_two_processes_in_one_interpreter_do_not_meet():
    first = Metrics(CollectorRegistry(), process="webhooks")
    second = Metrics(CollectorRegistry(), process="webhooks")
    first.gauge(WEBHOOK_IN_FLIGHT).set(3)
    assert samples(first)["media_webhook_in_flight", ()] == 3
    assert samples(second)["media_webhook_in_flight", ()] == 0


def test_values_labels_and_forgetting():
    metrics = Metrics(CollectorRegistry(), process="api")  # a metric of another process is made on first use
    metrics.gauge(LANE_RUNNING, "media.events", "0").set(2)
    key = "media_lane_running", (("partition", "0"), ("topic", "media.events"))
    assert samples(metrics)[key] == 2
    metrics.forget(LANE_RUNNING, "media.events", "0")
    assert key not in samples(metrics)
    with pytest.raises(ValueError, match="label"):
        metrics.gauge(LANE_RUNNING, "media.events")


def test_the_database_is_asked_at_every_scrape():
    class Pool:
        taken = 1

        def size(self):
            return 8

        def checkedout(self):
            return self.taken

    class Database:
        pool = Pool()
        clock_ahead_s = 0.0

    metrics = Metrics(CollectorRegistry(), process="api")
    metrics.watch_database(Database())
    Database.pool.taken, Database.clock_ahead_s = 5, -2.5
    assert samples(metrics)[DB_POOL_IN_USE.name, ()] == 5
    assert samples(metrics)[CLOCK_AHEAD.name, ()] == -2.5


def test_status_classes():
    assert [status_class(s) for s in (204, 301, 404, 503, None)] == ["2xx", "3xx", "4xx", "5xx", "none"]


async def test_the_server_shows_metrics_and_tells_the_truth_about_readiness():
    problems = ["no partition is assigned"]

    async def ready():
        return problems

    server = TelemetryServer(Metrics(CollectorRegistry(), process="webhooks"), host="127.0.0.1", port=0, ready=ready)
    address = await server.start()
    try:
        async with ClientSession(address) as session:
            async with session.get("/metrics") as answer:
                assert "media_webhook_in_flight 0.0" in await answer.text()
            async with session.get("/healthz") as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "ok")
            async with session.get("/readyz") as answer:
                assert (answer.status, (await answer.json())["problems"]) == (503, ["no partition is assigned"])
            problems.clear()
            async with session.get("/readyz") as answer:
                assert answer.status == 200
    finally:
        await server.stop()
