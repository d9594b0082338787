"""The webhook agent's composition root: settings in, a running process out."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from functools import partial

import uvloop

from connectors.kafka.producer import RecordProducer
from connectors.postgres.database import Database
from connectors.secrets import SecretBox
from connectors.telemetry import Telemetry
from schemas.settings import (
    DatabaseSettings,
    KafkaSettings,
    ShutdownSettings,
    TelemetrySettings,
    WebhookSettings,
    WorkerSettings,
    load,
)
from schemas.topics import DEAD_LETTERS, EVENTS
from streams.dead_letters import DeadLetters, Undecodable
from streams.faust_app import Record, build_app
from streams.health import AssignmentWatch, DatabasePulse, LoopWatch
from streams.intake_gauges import IntakeGauges
from streams.lifecycle import Task, live
from streams.member import Member
from streams.webhooks.agent import WebhookAgent
from streams.webhooks.intake import Intake
from streams.webhooks.missing_keys import tell_of_missing_keys


def run(env: Mapping[str, str]) -> int:
    """Run the webhook agent until it is told to stop; returns the exit code. Raises `SettingsError`."""
    return uvloop.run(_run(env))


async def _run(env: Mapping[str, str]) -> int:
    database_settings, kafka = load(DatabaseSettings, env), load(KafkaSettings, env)
    worker, settings = load(WorkerSettings, env), load(WebhookSettings, env)
    shutdown, telemetry_settings = load(ShutdownSettings, env), load(TelemetrySettings, env)
    telemetry = Telemetry.start(telemetry_settings, process="webhooks")
    group, topic = group_name(kafka), EVENTS.name(kafka.topic_prefix)
    async with Database(database_settings, application="webhooks", role="worker") as database:
        telemetry.metrics.watch_database(database)
        agent = WebhookAgent(database, settings, telemetry, owner=f"{socket.gethostname()}/{os.getpid()}")
        dead_letters = DeadLetters(
            RecordProducer(kafka, telemetry.tracing), database, telemetry.tracing,
            topic=DEAD_LETTERS.name(kafka.topic_prefix), group=group,
        )  # fmt: skip

        async def bury(record: Record, reason: str) -> None:
            await dead_letters.write(Undecodable(reason, record))

        intake = Intake(agent, bury, lambda: member.flow, telemetry.metrics)
        app = build_app(group, topic, kafka, worker, intake, intake.receive)
        member, pulse = Member(app, kafka), DatabasePulse(database)

        async def ready() -> Sequence[str]:
            return [*member.problems(), *pulse.problems(), *agent.problems(), *intake.problems()]

        agent.start()
        gauges = IntakeGauges(telemetry.metrics, intake.ledger, member.highwater)
        tasks: dict[str, Task] = {
            "consumer": member.run, "pulse": pulse.run, "gauges": gauges.run, "agent": agent.watch,
            "keys": partial(tell_of_missing_keys, database, SecretBox.of(settings)),
            "loop": LoopWatch(member.consumer_loop).run,
            "assignment": AssignmentWatch(member, patience_s=worker.watchdog_s).run,
        }  # fmt: skip
        drain = partial(drained, intake, member, agent, shutdown.drain_timeout)
        try:
            return await live(telemetry, telemetry_settings, tasks, ready=ready, drain=drain)
        finally:
            telemetry.stop()


async def drained(intake: Intake, member: Member, agent: WebhookAgent, timeout_s: float) -> None:
    """Take in nothing more, commit, leave the group, and let requests end: all in `timeout_s`, but for last words."""
    over = time.monotonic() + timeout_s
    await intake.close()
    left_s = max(0.0, over - time.monotonic())
    # The group goes on without us at once: deliveries are held by their leases, not by partitions.
    await asyncio.gather(member.leave(left_s), agent.stop(left_s))


def group_name(kafka: KafkaSettings) -> str:
    """The consumer group of every webhook agent of an installation."""
    return f"{kafka.topic_prefix}-webhooks"
