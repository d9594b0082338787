"""What a media worker's lanes need from whoever does the jobs."""

from typing import Protocol

from connectors.postgres.jobs import ClaimedJob
from schemas.records import Dispatch, Origin


class JobRunner(Protocol):
    """Claims jobs and runs them; `streams.media.execution.MediaJobRunner` is the one."""

    async def claim(self, record: Dispatch, traceparent: str | None, origin: Origin | None = None) -> ClaimedJob | None:
        """Take the job; committed on return. None: the record is stale or a repeat.

        Raises `MedialaneError` of class DEPENDENCY: the outcome is unknown, offer the record again.
        """

    async def run(self, job: ClaimedJob) -> float:
        """Work on a claimed job; never raises, every outcome goes to its row. Cancelled: the job is given back.

        Returns the CPU seconds that it took, 0 if nobody knows (all children died, it was parked).
        """
