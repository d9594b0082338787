"""The usage process's composition root: settings in, a running process out."""

import functools
from collections.abc import Mapping, Sequence

import uvloop

from connectors.kafka.admin import TopicAdmin, TopicsError
from connectors.telemetry import Telemetry
from schemas.settings import KafkaSettings, ShutdownSettings, TelemetrySettings, UsageSettings, WorkerSettings, load
from schemas.topics import EVENTS, USAGE
from streams.faust_app import build_app
from streams.health import AssignmentWatch, LoopWatch
from streams.intake_gauges import IntakeGauges
from streams.lifecycle import live
from streams.member import Member
from streams.usage.table import UsageBooks

_RECOVERY_PATIENCE_S = 600.0  # an assignment counts when the table is recovered, too


def run(env: Mapping[str, str]) -> int:
    """Keep the usage table until told to stop; returns the exit code. Raises `SettingsError`."""
    return uvloop.run(_run(env))


async def _run(env: Mapping[str, str]) -> int:
    kafka, worker, settings = load(KafkaSettings, env), load(WorkerSettings, env), load(UsageSettings, env)
    shutdown, telemetry_settings = load(ShutdownSettings, env), load(TelemetrySettings, env)
    telemetry = Telemetry.start(telemetry_settings, process="usage")

    @functools.cache
    def admin() -> TopicAdmin:
        return TopicAdmin(kafka, topics=(EVENTS, USAGE))  # it connects at once

    books = UsageBooks(
        lambda: admin().topic_id(EVENTS), telemetry.metrics, window_s=settings.window_s, keep_s=settings.keep_s
    )
    app = build_app(f"{kafka.topic_prefix}-usage", EVENTS.name(kafka.topic_prefix), kafka, worker, books, books.receive)
    member = Member(app, kafka)

    async def consume() -> None:
        await member.reach()
        books.attach(app, USAGE.name(kafka.topic_prefix), await _partitions(admin()))
        await books.prepare()
        await member.run()

    async def ready() -> Sequence[str]:
        return member.problems()

    async def drain() -> None:
        await member.leave(shutdown.drain_timeout)

    gauges = IntakeGauges(telemetry.metrics, books.ledger, member.highwater)
    tasks = {
        "consumer": consume, "table": books.watch, "cleaning": books.clean, "loop": LoopWatch(member.consumer_loop).run,
        "assignment": AssignmentWatch(member, patience_s=_RECOVERY_PATIENCE_S).run, "gauges": gauges.run,
    }  # fmt: skip
    try:
        return await live(telemetry, telemetry_settings, tasks, ready=ready, drain=drain)
    finally:
        telemetry.stop()


async def _partitions(admin: TopicAdmin) -> int:
    """How many partitions both topics have. Raises `TopicsError` if they differ, or are not there."""
    counts = await admin.partition_counts()
    if counts.get(EVENTS.route) is None or counts.get(EVENTS.route) != counts.get(USAGE.route):
        raise TopicsError(
            f"the usage table needs as many partitions as the events have, not {counts}: run `medialane topics apply`"
        )
    return counts[EVENTS.route]
