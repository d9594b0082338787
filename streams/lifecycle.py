"""The life of a process that runs background tasks: start, readiness, SIGTERM, a bounded end, an honest exit code."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from connectors.telemetry import Telemetry
from connectors.telemetry.http import Probe, TelemetryServer
from schemas.settings import TelemetrySettings

log = structlog.get_logger(__name__)

Task = Callable[[], Coroutine[Any, Any, None]]
Drain = Callable[[], Awaitable[None]]

_AT_ONCE = 130


async def live(
    telemetry: Telemetry,
    settings: TelemetrySettings,
    tasks: Mapping[str, Task],
    *,
    ready: Probe,
    drain: Drain | None = None,
) -> int:
    """Run the tasks until SIGTERM or SIGINT, then `drain`, which bounds itself; returns the exit code.

    The tasks go on during the drain. One that ends by itself is a defect: the process then drains and ends with 1, for
    its supervisor to start it again. A second signal ends the process at once.
    """
    stop = _stop_on_signals()

    async def ready_unless_stopping() -> Sequence[str]:
        return ["the process is stopping"] if stop.is_set() else await ready()

    server = TelemetryServer(
        telemetry.metrics,
        host=settings.metrics_host,
        port=settings.metrics_port,
        ready=ready_unless_stopping,
    )
    log.info("process started", metrics=await server.start())
    running = {asyncio.create_task(task(), name=name) for name, task in tasks.items()}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    broken: list[asyncio.Task[Any]] = []
    try:
        ended, _ = await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
        broken = [task for task in ended if task is not stopping]
        for task in broken:
            log.error("a task ended", task=task.get_name(), exc_info=task.exception())
        stop.set()
        if drain is not None:
            await drain()
    finally:
        for task in (stopping, *running):
            task.cancel()
        await asyncio.gather(stopping, *running, return_exceptions=True)
        await server.stop()
    log.info("process stopped")
    return 1 if broken else 0


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("told twice to stop: ending at once; leases will expire", signal=number.name)
            os._exit(_AT_ONCE)
        log.info("told to stop", signal=number.name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop
