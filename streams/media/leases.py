"""The leases of one process: renewed together by one statement, and a lost one stops its job at once."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from connectors.postgres.database import Database
from connectors.postgres.protocol import jobs
from connectors.postgres.protocol.jobs import ClaimedJob
from schemas.errors import MedialaneError

log = structlog.get_logger(__name__)


class Leases:
    """Holds jobs under their leases until each is let go.

    A row that does not come back from the heartbeat is lost: `on_lost` is called, once, and the job is forgotten. No
    answer from Postgres is not a lost lease: the work goes on, and its end waits until the database answers.
    """

    def __init__(self, database: Database, *, lease_s: float, heartbeat_s: float) -> None:
        if heartbeat_s * 2 >= lease_s:
            raise ValueError(f"a lease of {lease_s} s needs a heartbeat below half of it, not {heartbeat_s} s")
        self._database = database
        self._lease_s = lease_s
        self._heartbeat_s = heartbeat_s
        self._held: dict[UUID, tuple[int, Callable[[], object]]] = {}

    def hold(self, job: ClaimedJob, on_lost: Callable[[], object]) -> None:
        """Renew this job's lease from now on; one that we hold of an earlier claim of the same job is lost."""
        before = self._held.get(job.job_id)
        self._held[job.job_id] = (job.epoch, on_lost)
        if before is not None:
            _, lost = before
            lost()

    def let_go(self, job: ClaimedJob) -> None:
        """Stop renewing; does nothing for a job that is not held under this epoch."""
        held = self._held.get(job.job_id)
        if held is not None and held[0] == job.epoch:
            del self._held[job.job_id]

    def holds(self, job_id: UUID) -> bool:
        """Whether this process works on the job."""
        return job_id in self._held

    def __len__(self) -> int:
        return len(self._held)

    async def run(self) -> None:
        """Renew for ever; cancel to stop."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            await self.beat()

    async def beat(self) -> None:
        """Renew every lease once, and report what is lost."""
        asked = {job_id: epoch for job_id, (epoch, _) in self._held.items()}
        if not asked:
            return
        try:
            async with self._database.transaction() as connection:
                alive = await jobs.heartbeat(connection, list(asked.items()), lease_s=self._lease_s)
        except MedialaneError as error:
            log.warning("heartbeat failed; jobs go on, their ends wait", jobs=len(asked), error=str(error))
            return
        for job_id, epoch in asked.items():
            held = self._held.get(job_id)
            # A job that ended, or was claimed anew, while the statement ran is not lost.
            if job_id in alive or held is None or held[0] != epoch:
                continue
            del self._held[job_id]
            held[1]()
