"""How far a job is, told by its child twice a second and passed on seldom: in steps of ten, every other second at most.

A short job therefore tells nothing before it is done, and a long one at most nine times.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from connectors.postgres.database import Database
from connectors.postgres.protocol.jobs import ClaimedJob
from connectors.postgres.protocol.progress import advance
from connectors.telemetry.tracing import current_traceparent
from schemas.errors import MedialaneError

log = structlog.get_logger(__name__)

_STEP = 10
_PAUSE_S = 2.0


class Progress:
    """One job's progress."""

    def __init__(self, job: ClaimedJob, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._database = database
        self._clock = clock
        self._told = 0
        self._told_at = clock()
        self._telling: asyncio.Task[None] | None = None

    def note(self, fraction: float) -> None:
        """The job is so far, 0 to 1; told from now on in the background if it is time."""
        percent = min(100 - _STEP, int(fraction * 100) // _STEP * _STEP)
        if percent <= self._told or self._clock() - self._told_at < _PAUSE_S:
            return
        if self._telling is not None and not self._telling.done():
            return
        self._told, self._told_at = percent, self._clock()
        self._telling = asyncio.create_task(self._tell(percent))

    async def close(self) -> None:
        """Wait for what is being told."""
        if self._telling is not None:
            await self._telling

    def abandon(self) -> None:
        """Stop telling; does nothing after `close`."""
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self, percent: int) -> None:
        try:
            async with self._database.transaction() as connection:
                await advance(connection, self._job, percent, traceparent=current_traceparent())
        except MedialaneError as error:
            # Nobody's work depends on it.
            log.warning("progress not told", percent=percent, error=str(error), job_id=str(self._job.job_id))
