"""A failed connector task stays down until somebody restarts it; this does, with backoff, and says so."""

import asyncio
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec
import structlog

from connectors.debezium.client import ConnectError, ConnectorStatus

_INTERVAL_S = 2.0

Outcome = Literal["healthy", "starting", "failed", "restarted", "stopped", "missing", "unreachable"]


class ConnectorControl(Protocol):
    """What the watchdog needs of Connect; `ConnectClient` is one."""

    async def status(self, name: str) -> ConnectorStatus | None:
        """The connector's status, None if there is no such connector."""

    async def restart(self, name: str) -> None:
        """Restart what failed."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one look at the connector found. `failures` counts restarts in a row without a healthy look between."""

    connector: str
    outcome: Outcome
    cause: str = ""
    failures: int = 0
    retry_in_s: float | None = None


class Watchdog:
    """Looks at one connector every other second and restarts what failed.

    The first restart is at once; each further one without a healthy look between waits twice as long, from
    `backoff_s` up to `backoff_cap_s`. Every look goes to `on_report` (for metrics); changes are logged.
    """

    def __init__(
        self,
        control: ConnectorControl,
        connector: str,
        *,
        on_report: Callable[[Report], None] = lambda _report: None,
        backoff_s: float = 1.0,
        backoff_cap_s: float = 60.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._control = control
        self._connector = connector
        self._on_report = on_report
        self._backoff_s = backoff_s
        self._backoff_cap_s = backoff_cap_s
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._log = structlog.get_logger("medialane.connect").bind(connector=connector)
        self._failures = 0
        self._not_before = 0.0
        self._last: Outcome | None = None

    async def run(self) -> None:
        """Look for ever; cancel to stop."""
        while True:
            await self.look()
            await asyncio.sleep(_INTERVAL_S)

    async def look(self) -> Report:
        """One look, and a restart if it is due. Never raises for what Connect does."""
        try:
            status = await self._control.status(self._connector)
            report = await self._judge(status)
        except ConnectError as error:
            report = self._report("unreachable", cause=str(error))
        self._announce(report)
        return report

    async def _judge(self, status: ConnectorStatus | None) -> Report:
        if status is None:
            return self._report("missing", cause="Connect knows no such connector: register it")
        if status.stopped:
            return self._report("stopped", cause=status.cause)
        if not status.failed:
            # A task that is still starting, or that nobody was given, has proved nothing: only a running one ends the
            # row of failures, and is called healthy.
            if not status.running:
                tasks = ", ".join(task.state for task in status.tasks) or "none"
                return self._report("starting", cause=f"connector {status.connector.state}, tasks {tasks}")
            self._failures = 0
            return self._report("healthy")
        wait = self._not_before - self._clock() if self._failures else 0.0
        if wait > 0:
            return self._report("failed", cause=status.cause, retry_in_s=wait)
        await self._control.restart(self._connector)
        pause = min(self._backoff_cap_s, self._backoff_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self._not_before = self._clock() + pause
        return self._report("restarted", cause=status.cause, retry_in_s=pause)

    def _report(self, outcome: Outcome, *, cause: str = "", retry_in_s: float | None = None) -> Report:
        return Report(
            connector=self._connector, outcome=outcome, cause=cause, failures=self._failures, retry_in_s=retry_in_s
        )

    def _announce(self, report: Report) -> None:
        if report.outcome == "restarted":
            self._log.warning("connector restarted", cause=report.cause, failures=report.failures)
        elif report.outcome != self._last:
            level = self._log.info if report.outcome == "healthy" else self._log.warning
            level(f"connector {report.outcome}", cause=report.cause)
        self._last = report.outcome
        self._on_report(report)
