"""What a worker does with a dispatch: claim the row, do the work under its lease, end the row.

Every effect is a fenced transaction, so whatever kills, pauses or doubles this code, effects happen once. Nothing here
knows Kafka: a lane calls `claim`, moves its offset, and then calls `run`.
"""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import structlog

from connectors.objectstore.port import ObjectStore
from connectors.postgres.database import Database
from connectors.postgres.group_commit import across_tenants
from connectors.postgres.protocol import endings, jobs
from connectors.postgres.protocol.finishing import finish_all
from connectors.postgres.protocol.jobs import ClaimedJob, FencedError, Offered, Refusal
from connectors.telemetry.metrics import Metrics
from connectors.telemetry.tracing import Tracing, current_traceparent
from processors.pool import MediaPool
from processors.temp import TempFolders
from schemas.errors import ERRORS, ErrorClass, ErrorCode, MedialaneError
from schemas.metrics import CLAIMS, FENCED_FINISHES, LEASES_LOST
from schemas.profiles import DEFAULT_PROFILES, Profile
from schemas.records import Dispatch, Origin
from schemas.settings import WorkerSettings
from schemas.states import MediaKind
from streams.crew import NotReturnedError
from streams.media.figures import JobFigures
from streams.media.gate import StoreGate
from streams.media.leases import Leases
from streams.media.patience import until_back
from streams.media.work import Beyond, Parked, Work
from streams.pauses import backoff, jitter

log = structlog.get_logger(__name__)

_DEPENDENCY_PAUSE_S = 5.0
_NEWER_PAUSE_S = 30.0
_GIVE_BACK_BOUND_S, _LEAST_GIVE_BACK_S = 8.0, 1.0


class MediaJobRunner:
    """Runs the jobs of one process; see `streams.media.handler.JobRunner` for what a lane may expect."""

    def __init__(
        self,
        *,
        database: Database,
        store: ObjectStore,
        pool: MediaPool,
        leases: Leases,
        settings: WorkerSettings,
        owner: str,
        folders: TempFolders,
        tracing: Tracing,
        metrics: Metrics,
        gate: StoreGate,
        profiles: tuple[Profile, ...] = DEFAULT_PROFILES,
    ) -> None:
        """`profiles` are for tenants that chose none."""
        self._database = database
        self._store = store
        self._pool = pool
        self._leases = leases
        self._settings = settings
        self._claims = across_tenants(database, partial(jobs.claim_all, owner=owner, lease_s=settings.lease_s))
        self._adopt = partial(jobs.adopt, owner=owner, lease_s=settings.lease_s)
        self._unanswered: set[Dispatch] = set()  # those whose claims may have been committed
        self._ends = across_tenants(database, finish_all)
        self._folders = folders
        self._tracing = tracing
        self._metrics = metrics
        self._profiles = profiles
        self._figures = JobFigures(metrics)
        self._gate = gate

    async def claim(self, record: Dispatch, traceparent: str | None, origin: Origin | None = None) -> ClaimedJob | None:
        """Take the job in a committed transaction; None when the record is stale or a repeat.

        Raises `MedialaneError` of class DEPENDENCY: the record's outcome is unknown, the gate is closed, or there is no
        room for any job's files; offer it again.
        """
        self._gate.check()
        self._folders.ensure_room(0)
        with self._tracing.span("claim", parent_traceparent=traceparent):
            found = await self._claim(Offered(record, current_traceparent(), origin))
        if isinstance(found, ClaimedJob):
            self._metrics.counter(CLAIMS, "claimed").inc()
            return found
        self._metrics.counter(CLAIMS, found).inc()
        return None

    async def _claim(self, offered: Offered) -> ClaimedJob | Refusal:
        record = offered.dispatch
        unanswered = record in self._unanswered
        self._unanswered.discard(record)  # nobody gives back what is being claimed
        try:
            found = await self._claims.submit(None, offered)
            if found == "conflict" and unanswered:
                # It may be ours: nobody renews its lease then, which would end as a death of this worker. What another
                # record of this dispatch has claimed is at work here already.
                if self._leases.holds(record.job_id):
                    self._unanswered.add(record)
                    return found
                async with self._database.transaction() as connection:
                    found = await self._adopt(connection, offered) or found
        except MedialaneError:
            self._unanswered.add(record)
            raise
        return found

    async def look_after_unanswered(self) -> None:
        """Give back what no claim asks for again: for ever, as often as leases are renewed; cancel to stop.

        The lane of a record that was not answered may have been revoked, or reach it again only after the lease.
        """
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            await self.give_back_unanswered()

    async def give_back_unanswered(self, timeout_s: float = _GIVE_BACK_BOUND_S) -> None:
        """Give back what claims without an answer have taken after all, as a drain does: the last act of one, too.

        Takes `timeout_s` at most, but for a second; what it does not come to is left for the next time.
        """
        try:
            async with asyncio.timeout(max(timeout_s, _LEAST_GIVE_BACK_S)):
                for record in [one for one in self._unanswered if not self._leases.holds(one.job_id)]:
                    await self._give_back_claimed(record)
        except (TimeoutError, MedialaneError) as error:
            log.warning("claims without an answer are looked at again", claims=len(self._unanswered), error=str(error))

    async def _give_back_claimed(self, record: Dispatch) -> None:
        if record not in self._unanswered:
            return  # it is being claimed again
        self._unanswered.discard(record)
        try:
            async with self._database.transaction() as connection:
                job = await self._adopt(connection, Offered(record))
                if job is not None:
                    await jobs.release(connection, job)
        except (asyncio.CancelledError, MedialaneError):
            self._unanswered.add(record)
            raise
        if job is not None:
            log.info("job given back: its claim was not answered", **job.log_names)

    async def run(self, job: ClaimedJob) -> float:
        """Work on a claimed job until its row has left `running`, or is somebody else's.

        Never raises for what the job does. Cancelling it (drain) gives the job back to `queued` at no cost, or raises
        `NotReturnedError`; a lost lease stops the work and changes nothing.
        """
        async with AsyncExitStack() as stack:
            try:
                # Removing a folder takes time: in that the lease of a row that has ended is not held any more.
                folder = await stack.enter_async_context(self._folders.media_job(str(job.job_id)))
            except MedialaneError as error:
                with contextlib.suppress(FencedError):
                    await self._put_off(job, error)
                return 0.0
            return await self._under_lease(job, folder)

    async def _under_lease(self, job: ClaimedJob, folder: Path) -> float:
        lost = False
        work = asyncio.create_task(self._guarded(job, folder), name=f"job-{job.job_id}")

        def on_lost() -> None:
            nonlocal lost
            lost = True
            work.cancel()

        self._leases.hold(job, on_lost)
        try:
            return await work
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work})
            if lost:
                self._metrics.counter(LEASES_LOST).inc()
                log.warning("lease lost, work discarded", **job.log_names)
                return 0.0
            await asyncio.shield(self._give_back(job))
            raise
        finally:
            self._leases.let_go(job)

    async def _guarded(self, job: ClaimedJob, folder: Path) -> float:
        kind = {"medialane.job.id": str(job.job_id), "medialane.stage": job.stage.value, "medialane.epoch": job.epoch}
        with self._tracing.span(
            f"job {job.stage}", parent_traceparent=job.traceparent, links=(job.traceparent,), attributes=kind
        ):
            log.info("job started", **job.log_names)
            work = Work(
                job, self._database, self._ends, self._store, self._pool, folder, self._tracing, self._profiles,
                on_outage=self._gate.report,
            )  # fmt: skip
            try:
                await self._process(job, work)
            except FencedError:
                self._metrics.counter(FENCED_FINISHES).inc()
                log.warning("job was taken over, work discarded", **job.log_names)
            except Parked:
                log.info("job waits for its twin", **job.log_names)
        return float(work.report()["cpu_s"])

    async def _process(self, job: ClaimedJob, work: Work) -> None:
        began = time.monotonic()
        try:
            # The source, its renditions, and what ffmpeg writes twice for the fast start.
            self._folders.ensure_room(3 * job.size)
            outcome = await work.produce()
            await until_back(lambda: work.finish(outcome), ErrorCode.DATABASE_UNAVAILABLE)
        except MedialaneError as error:
            await self._failed(job, work, error)
        except (FencedError, Parked):
            raise
        except Beyond as error:
            log.warning("job left to a newer release", asks=str(error), **job.log_names)
            await self._wait(job, None, jitter(_NEWER_PAUSE_S), costs_attempt=False)
        except Exception as error:
            # A defect of ours is not the input's fault: it costs an attempt and shows in the log with its stack.
            log.exception("job failed in an unexpected way", **job.log_names)
            await self._failed(job, work, MedialaneError(ErrorCode.PROCESSING_FAILED, type(error).__name__))
        else:
            self._figures.done(job, work.report(), worked_s=time.monotonic() - began)
            log.info("job done", reused=outcome.reused, variants=len(outcome.variants), **job.log_names)

    async def _failed(self, job: ClaimedJob, work: Work, error: MedialaneError) -> None:
        error = await self._gate.judge(error)
        names = job.log_names | {"code": error.code, "detail": error.detail}
        self._figures.failed_attempt(job, error)
        self._gate.report(error)
        exhausted = job.attempts + 1 >= self._most_attempts(job, error)
        if error.error_class is ErrorClass.DEPENDENCY:
            await self._put_off(job, error)
        elif error.error_class is ErrorClass.TRANSIENT and not exhausted:
            log.warning("job failed, to be tried again", attempt=job.attempts + 1, **names)
            pause_s = backoff(job.attempts, base_s=self._settings.retry_base_s, cap_s=self._settings.retry_cap_s)
            await self._wait(job, error, pause_s, costs_attempt=True)
        else:
            log.warning("job given up", attempt=job.attempts + 1, **names)
            await until_back(lambda: self._fail(job, work, error), ErrorCode.DATABASE_UNAVAILABLE)
            self._figures.given_up(job, work.report(), error)

    async def _put_off(self, job: ClaimedJob, error: MedialaneError) -> None:
        log.warning("job waits for a shared dependency", code=error.code, detail=error.detail, **job.log_names)
        await self._wait(job, error, jitter(_DEPENDENCY_PAUSE_S), costs_attempt=False)

    def _most_attempts(self, job: ClaimedJob, error: MedialaneError) -> int:
        most, of_video = self._settings.max_attempts, ERRORS[error.code].video_attempts
        return most if of_video is None or job.stage.kind is MediaKind.IMAGE else min(most, of_video)

    async def _fail(self, job: ClaimedJob, work: Work, error: MedialaneError) -> None:
        async with self._database.transaction() as connection:
            await endings.fail(
                connection,
                job,
                code=error.told,
                detail=error.detail,
                sha256=work.sha256,
                report=work.report(),
                traceparent=current_traceparent(),
            )

    async def _wait(
        self, job: ClaimedJob, error: MedialaneError | None, delay_s: float, *, costs_attempt: bool
    ) -> None:
        async def wait() -> None:
            async with self._database.transaction() as connection:
                await jobs.wait(
                    connection,
                    job,
                    delay_s=delay_s,
                    costs_attempt=costs_attempt,
                    code=None if error is None else error.code,
                    detail=None if error is None else error.detail,
                )

        await until_back(wait, ErrorCode.DATABASE_UNAVAILABLE)

    async def _give_back(self, job: ClaimedJob) -> None:
        try:
            async with self._database.transaction() as connection:
                await jobs.release(connection, job)
            log.info("job given back", **job.log_names)
        except FencedError:
            log.warning("job not given back: somebody else has it", **job.log_names)
        except MedialaneError as error:
            raise NotReturnedError(str(error)) from error
