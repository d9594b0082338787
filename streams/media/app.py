"""A media worker's composition root: settings in, a running process out."""

import os
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from connectors.kafka.producer import RecordProducer
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from connectors.telemetry import Telemetry
from processors.pool import MediaPool
from processors.temp import TempFolders
from schemas.ids import uuid7
from schemas.metrics import Process
from schemas.profile_sets import default_choice, resolve
from schemas.settings import (
    DatabaseSettings,
    KafkaSettings,
    ObjectStoreSettings,
    ProcessorSettings,
    ProfileSettings,
    ShutdownSettings,
    TelemetrySettings,
    WorkerSettings,
    load,
)
from schemas.states import MediaKind
from schemas.topics import DEAD_LETTERS, JOB_TOPICS
from streams.bucket import Bucket
from streams.cores import available_cores, available_memory_mib, children
from streams.dead_letters import DeadLetters
from streams.health import DatabasePulse, LoopWatch
from streams.lifecycle import live
from streams.media.excess import ExcessReturn
from streams.media.execution import MediaJobRunner
from streams.media.gate import StoreGate
from streams.media.handler import MediaHandler
from streams.media.leases import Leases
from streams.media.walls import show_walls
from streams.media.worker import MediaWorker
from streams.overflow import Overflow
from streams.tuning import Tuner

PROCESSES: dict[MediaKind, Process] = {MediaKind.IMAGE: "media-images", MediaKind.VIDEO: "media-video"}


def run_images(env: Mapping[str, str]) -> int:
    """Run a worker for pictures until it is told to stop; returns the exit code. Raises `SettingsError`."""
    return uvloop.run(_run(env, MediaKind.IMAGE))


def run_video(env: Mapping[str, str]) -> int:
    """Run a worker for videos until it is told to stop; returns the exit code. Raises `SettingsError`."""
    return uvloop.run(_run(env, MediaKind.VIDEO))


async def _run(env: Mapping[str, str], kind: MediaKind) -> int:
    worker_settings, kafka = load(WorkerSettings, env), load(KafkaSettings, env)
    database_settings, store_settings = load(DatabaseSettings, env), load(ObjectStoreSettings, env)
    profiles = resolve(default_choice(load(ProfileSettings, env)))
    processor_settings, shutdown = load(ProcessorSettings, env), load(ShutdownSettings, env)
    telemetry_settings = load(TelemetrySettings, env)
    process = PROCESSES[kind]
    telemetry = Telemetry.start(telemetry_settings, process=process)
    topic, group = JOB_TOPICS[kind].name(kafka.topic_prefix), f"{kafka.topic_prefix}-{process}"
    cores = available_cores()
    computing = children(worker_settings.slots, cores=cores, memory_mib=available_memory_mib())

    async with AsyncExitStack() as stack:
        stack.callback(telemetry.stop)
        database = await stack.enter_async_context(Database(database_settings, application=process, role="worker"))
        telemetry.metrics.watch_database(database)
        store = S3ObjectStore(store_settings)
        stack.push_async_callback(store.close)
        folders = TempFolders(Path(worker_settings.temp_dir))
        stack.callback(folders.close)
        pool = MediaPool(processor_settings, workers=computing, folder=folders.folder, cores=cores)
        pool.start()
        show_walls(pool.walls, telemetry.metrics)
        stack.push_async_callback(pool.close, 0)
        leases = Leases(database, lease_s=worker_settings.lease_s, heartbeat_s=worker_settings.heartbeat_s)
        gate = StoreGate(Bucket(database, store), telemetry.metrics)
        runner = MediaJobRunner(
            database=database, store=store, pool=pool, leases=leases, settings=worker_settings,
            owner=f"{socket.gethostname()}/{os.getpid()}/{uuid7()}", folders=folders, tracing=telemetry.tracing,
            metrics=telemetry.metrics, gate=gate, profiles=profiles,
        )  # fmt: skip
        dead_letters = DeadLetters(
            RecordProducer(kafka, telemetry.tracing), database, telemetry.tracing,
            topic=DEAD_LETTERS.name(kafka.topic_prefix), group=group,
        )  # fmt: skip
        handler = MediaHandler(
            runner, dead_letters, telemetry.metrics, topic=topic, route=JOB_TOPICS[kind].route, group=group
        )
        # One job more than there are children: it downloads while they compute.
        worker = MediaWorker(
            handler, kafka, worker_settings, telemetry.metrics, kind=kind, group=group, slots=computing + 1
        )
        pulse = DatabasePulse(database)

        async def ready() -> Sequence[str]:
            return [*worker.problems(), *pulse.problems(), *gate.problems(), *folders.problems()]

        async def drain() -> None:
            over = time.monotonic() + shutdown.drain_timeout
            await worker.drain(shutdown.drain_timeout)
            await runner.give_back_unanswered(over - time.monotonic())

        overflow = Overflow(worker.lanes, ExcessReturn(database, telemetry.metrics, topic), worker.member.behind)
        tuner = Tuner(database, worker.lanes, worker.shares, route=JOB_TOPICS[kind].route)
        tasks = {
            "leases": leases.run, "claims": runner.look_after_unanswered, "pulse": pulse.run, "gate": gate.run,
            "overflow": overflow.run, "tuner": tuner.run, "loop": LoopWatch(worker.member.consumer_loop).run,
            **worker.tasks,
        }  # fmt: skip
        return await live(telemetry, telemetry_settings, tasks, ready=ready, drain=drain)
