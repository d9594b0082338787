"""The life of a process that runs background tasks: start, readiness, SIGTERM, a bounded end, an honest exit code."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from connectors.telemetry import Telemetry
from connectors.telemetry.http import Probe, TelemetryServer
from schemas.settings import TelemetrySettings

log = structlog.get_logger(__name__)

Task = Callable[[], Coroutine[Any, Any, None]]


async def live(telemetry: Telemetry, settings: TelemetrySettings, tasks: Mapping[str, Task], *, ready: Probe) -> int:
    """Run the tasks until SIGTERM or SIGINT; returns the exit code.

    A task that ends by itself is a defect: the process then ends with 1, for its supervisor to start it again.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = TelemetryServer(telemetry.metrics, host=settings.metrics_host, port=settings.metrics_port, ready=ready)
    log.info("process started", metrics=await server.start())
    running = {asyncio.create_task(task(), name=name) for name, task in tasks.items()}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        ended, _ = await asyncio.wait({stopping, *running}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopping, *running):
            task.cancel()
        await asyncio.gather(stopping, *running, return_exceptions=True)
        await server.stop()
    broken = [task for task in ended if task is not stopping]
    for task in broken:
        log.error("a task ended", task=task.get_name(), exc_info=task.exception())
    log.info("process stopped")
    return 1 if broken else 0
