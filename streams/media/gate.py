"""A gate before every claim: closed while the object store is away, so that no job is taken up only to fail for it.

A lane that cannot claim pauses, as it does for Postgres; what runs already waits in its row, and nothing costs an
attempt. The gate opens by itself as soon as the store answers.
"""

import asyncio
from typing import Protocol

import structlog

from connectors.telemetry.metrics import Metrics
from schemas.errors import ErrorCode, MedialaneError
from schemas.metrics import DEPENDENCY_UP

log = structlog.get_logger(__name__)

_PROBE_S = 1.0
_STORE = "object_store"


class Checked(Protocol):
    """A store, or a bucket that knows whose it is."""

    async def check(self, *, patient: bool = False) -> None:
        """Return if jobs find their files there. Raises `MedialaneError`; `patient`: wait for a free thread."""


class StoreGate:
    """One for a process. Run `run` beside the jobs."""

    def __init__(self, store: Checked, metrics: Metrics, *, probe_s: float = _PROBE_S) -> None:
        self._store = store
        self._metrics = metrics
        self._probe_s = probe_s
        self._away = asyncio.Event()
        self._show()

    def report(self, error: MedialaneError) -> None:
        """Close the gate if this failure says that the store is away."""
        if error.code is ErrorCode.OBJECT_STORE_UNAVAILABLE and not self._away.is_set():
            self._away.set()
            self._show()
            log.warning(
                "the object store is away: nothing is claimed until it answers", error=str(error),
                cause=str(error.__cause__ or ""),
            )  # fmt: skip

    async def judge(self, error: MedialaneError) -> MedialaneError:
        """What a job's failure is in truth: an object is not gone as long as the bucket is away, or another's."""
        if error.code is ErrorCode.SOURCE_MISSING:
            try:
                await self._store.check(patient=True)
            except MedialaneError as away:
                return away
        return error

    def check(self) -> None:
        """Return if jobs may be claimed. Raises `MedialaneError(object_store_unavailable)`."""
        if self._away.is_set():
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE)

    def problems(self) -> list[str]:
        """Why the worker is not ready."""
        return ["the object store does not answer"] if self._away.is_set() else []

    async def run(self) -> None:
        """Ask the store while the gate is closed; open it at the first answer. Cancel to stop."""
        while True:
            await self._away.wait()
            await asyncio.sleep(self._probe_s)
            try:
                # Patient: places that are all taken by files would look as if the store were still away.
                await self._store.check(patient=True)
            except MedialaneError:
                continue
            self._away.clear()
            self._show()
            log.info("the object store answers again")

    def _show(self) -> None:
        self._metrics.gauge(DEPENDENCY_UP, _STORE).set(not self._away.is_set())
