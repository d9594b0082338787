"""The keeper's composition root: settings in, a running process out."""

from collections.abc import Mapping, Sequence

import uvloop

from connectors.debezium import ConnectClient, Watchdog
from connectors.debezium.watchdog import Report
from connectors.objectstore.s3 import S3ObjectStore
from connectors.postgres.database import Database
from connectors.telemetry import Telemetry
from schemas.metrics import CONNECTOR_RESTARTS, CONNECTOR_TASK_UP
from schemas.settings import (
    BreakerSettings,
    ConnectSettings,
    DatabaseSettings,
    KeeperSettings,
    ObjectStoreSettings,
    TelemetrySettings,
    load,
)
from streams.keeper.abandoned import AbandonedUploads
from streams.keeper.backlog import BacklogGauges
from streams.keeper.housekeeping import Housekeeping
from streams.keeper.orphans import Orphans
from streams.keeper.outbox import OutboxUpkeep
from streams.keeper.oversized import OversizedUploads
from streams.keeper.position import ConnectorPosition
from streams.keeper.purging import Purging
from streams.keeper.rounds import Rounds
from streams.lifecycle import live

# Three missed rounds, and what statements of a busy database may take beside.
_LATE_ROUNDS = 3


def run(env: Mapping[str, str]) -> int:
    """Run the keeper until it is told to stop; returns the exit code. Raises `SettingsError`."""
    return uvloop.run(_run(env))


async def _run(env: Mapping[str, str]) -> int:
    database_settings = load(DatabaseSettings, env)
    connect = load(ConnectSettings, env)
    store_settings = load(ObjectStoreSettings, env)
    settings, budget = load(KeeperSettings, env), load(BreakerSettings, env)
    telemetry_settings = load(TelemetrySettings, env)
    telemetry = Telemetry.start(telemetry_settings, process="keeper")
    metrics = telemetry.metrics

    def on_report(report: Report) -> None:
        metrics.gauge(CONNECTOR_TASK_UP).set(report.outcome == "healthy")
        if report.outcome == "restarted":
            metrics.counter(CONNECTOR_RESTARTS).inc()

    async with (
        Database(database_settings, application="keeper", role="worker") as database,
        ConnectClient(connect) as control,
        S3ObjectStore(store_settings) as store,
    ):
        metrics.watch_database(database)
        rounds = Rounds(database, settings, metrics, budget)
        upkeep = OutboxUpkeep(
            database,
            metrics,
            slot=connect.slot,
            retention_s=settings.outbox_retention_s,
            interval_s=settings.interval_s,
        )
        watchdog = Watchdog(control, connect.connector, on_report=on_report)
        position = ConnectorPosition(control, database, metrics, connector=connect.connector, slot=connect.slot)

        async def ready() -> Sequence[str]:
            since = rounds.seconds_since_good
            if since is None:
                return ["no round has succeeded yet"]
            late = _LATE_ROUNDS * settings.interval_s + settings.lease_s
            return [f"the last good round was {since:.0f} s ago"] if since > late else []

        tasks = {
            "rounds": rounds.run,
            "lease grace": rounds.grace.run,
            "backlog": BacklogGauges(database, metrics).run,
            "outbox": upkeep.run,
            "watchdog": watchdog.run,
            "position": position.run,
            "cleaning": Housekeeping(database, settings).run,
            "purging": Purging(database, store, settings, metrics).run,
            "sweeping": Orphans(database, store, settings, metrics).run,
            "abandoned": AbandonedUploads(database, store, settings, metrics).run,
            "oversized": OversizedUploads(database, store).run,
        }
        try:
            return await live(telemetry, telemetry_settings, tasks, ready=ready)
        finally:
            telemetry.stop()
