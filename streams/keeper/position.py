"""Finds a Connect that is ahead of Postgres, as after a failover that lost commits: what it skips then is not sent."""

from typing import Protocol

import structlog

from connectors.debezium import ConnectError
from connectors.postgres import outbox_upkeep
from connectors.postgres.database import Database
from connectors.telemetry.metrics import Metrics
from schemas.metrics import CONNECTOR_AHEAD
from streams.keeper.outages import again

log = structlog.get_logger(__name__)

_INTERVAL_S = 10


class Noting(Protocol):
    """What is asked of Connect; `ConnectClient` is one."""

    async def position(self, name: str, *, server: str) -> int | None:
        """Up to where rows are noted as sent, None before the first note."""


class ConnectorPosition:
    """Compares what Connect has noted as sent with the end of Postgres' log, until cancelled.

    It only tells: event numbers have to be raised before the outbox is sent again (decision 37).
    """

    def __init__(self, control: Noting, database: Database, metrics: Metrics, *, connector: str, slot: str) -> None:
        self._control = control
        self._database = database
        self._metrics = metrics
        self._connector = connector
        self._slot = slot
        self._ahead = False

    async def run(self) -> None:
        """Compare for ever."""
        await again(self.look, pause_s=_INTERVAL_S, failed="the connector's position was not compared")

    async def look(self) -> None:
        """Compare once; nothing while Connect is away, which the watchdog tells."""
        # Connect's first: Postgres' end only grows, so a position that is beyond a later end was never on this log.
        try:
            noted = await self._control.position(self._connector, server=self._slot)
        except ConnectError:
            return
        async with self._database.transaction() as connection:
            state = await outbox_upkeep.read_state(connection, slot=self._slot)
        ahead = max((noted or 0) - state.end_lsn, 0)
        self._metrics.gauge(CONNECTOR_AHEAD).set(ahead)
        if ahead and not self._ahead:
            log.error(
                "Connect is ahead of Postgres, and skips its rows: Postgres was failed over or restored",
                connector=self._connector,
                ahead_bytes=ahead,
                cure="docs/runbooks.md, Postgres restored or failed over",
            )
        self._ahead = ahead > 0
