"""One job's work: the source comes down, its content is joined, variants are made, stored and made known.

A `Work` is made for one claim and thrown away with it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from connectors.objectstore.port import ObjectStore
from connectors.postgres.assets import variants
from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.database import Database
from connectors.postgres.group_commit import GroupCommit
from connectors.postgres.protocol.content import Role, join_content
from connectors.postgres.protocol.finishing import Finish
from connectors.postgres.protocol.jobs import ClaimedJob, FencedError
from connectors.telemetry.tracing import Tracing, current_traceparent
from processors.contract import Cost, MediaError, ProcessingReport, Source
from processors.pool import MediaPool
from schemas.details import Facts
from schemas.errors import ErrorCode, MedialaneError
from schemas.kept_choices import read_kept
from schemas.profile_sets import named, of_stage
from schemas.profiles import Profile, stages_after
from streams.media.outputs import Outputs
from streams.media.progress import Progress

log = structlog.get_logger(__name__)


class Parked(Exception):  # noqa: N818 - an outcome, not an error
    """The job went to sleep in its row: another job is making the same content's variants."""


class Beyond(Exception):  # noqa: N818 - an outcome, not an error
    """The job asks for something (named here) that only a newer release knows: it is left to whoever does."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is left to write when the work is done: variants that are stored but not yet known, and facts."""

    variants: tuple[NewVariant, ...]
    facts: Facts | None
    reused: bool


class Work:
    """The work of one claim, in a folder of its own that the caller removes afterwards."""

    def __init__(
        self,
        job: ClaimedJob,
        database: Database,
        ends: GroupCommit[None, Finish, bool],
        store: ObjectStore,
        pool: MediaPool,
        folder: Path,
        tracing: Tracing,
        profiles: tuple[Profile, ...],
        *,
        on_outage: Callable[[MedialaneError], None],
    ) -> None:
        """`profiles` are for tenants that chose none; `on_outage` is told when the store does not take what is made."""
        self._job = job
        self._database = database
        self._ends = ends
        self._store = store
        self._pool = pool
        self._folder = folder
        self._tracing = tracing
        self._profiles = profiles
        self._on_outage = on_outage
        self._steps: list[dict[str, Any]] = []
        self._cost: Cost | None = None
        self.sha256 = job.content_sha256

    async def produce(self) -> Outcome:
        """Make everything that is missing; raises `MedialaneError`, `FencedError`, `Parked` or `Beyond`."""
        self._choose()  # before it leads its bytes: others, who ask for what is known, would wait for it
        path, sha256 = (None, self.sha256) if self.sha256 is not None else await self._download()
        role, facts = await self._join(sha256)
        done = await self._already_known()
        missing = [profile for profile in of_stage(self._profiles, self._job.stage) if profile.name not in done]
        known: Sequence[NewVariant] = ()
        if role is Role.REUSE:
            known = await self._made_before(sha256, missing)
            reused = {variant.profile for variant in known}
            missing = [profile for profile in missing if profile.name not in reused]
            if not missing:
                return Outcome(variants=tuple(known), facts=facts, reused=True)
        if path is None:
            path, found = await self._download()
            if found != sha256:
                raise MedialaneError(ErrorCode.SOURCE_CHANGED)
        made, facts = await self._make(path, sha256, missing)
        return Outcome(variants=(*known, *made), facts=facts, reused=False)

    async def finish(self, outcome: Outcome) -> None:
        """Write the job's good end; raises `FencedError` or `MedialaneError(database_unavailable)`."""
        if self.sha256 is None:
            raise RuntimeError("a job can not finish before its content is known")
        end = Finish(
            job=self._job, variants=outcome.variants, sha256=self.sha256, facts=outcome.facts, report=self.report(),
            reused=outcome.reused, follow=tuple(stages_after(self._job.stage, self._profiles)),
            traceparent=current_traceparent(),
        )  # fmt: skip
        if not await self._ends.submit(None, end):
            raise FencedError(str(self._job.job_id))

    def report(self) -> dict[str, Any]:
        """The job's timings and costs so far, for its row: times in Unix seconds, durations in seconds."""
        job, cost = self._job, self._cost or Cost(cpu_s=0.0, max_rss_mb=0.0)
        return {
            "queued_at": job.queued_at.timestamp(),
            "claimed_at": job.claimed_at.timestamp(),
            # The rows' word for steps, from before jobs had stages.
            "stages": self._steps + [msgspec.structs.asdict(step) for step in cost.steps],
            "cpu_s": cost.cpu_s,
            "max_rss_mb": cost.max_rss_mb,
        }

    def _choose(self) -> None:
        job = self._job
        choice = None if job.choice is None else read_kept(job.choice)
        if choice is not None and choice.asks_beyond(job.stage.kind, job.profiles):
            raise Beyond("its tenant's choice of profiles")
        chosen = self._profiles if choice is None else choice.profiles
        self._profiles = named(chosen, job.stage.kind, job.profiles)

    async def _join(self, sha256: bytes) -> tuple[Role, Facts | None]:
        job = self._job
        self.sha256 = sha256
        with self._step("dedup"):
            async with self._database.transaction() as connection:
                decision = await join_content(
                    connection, tenant_id=job.tenant_id, sha256=sha256, job_id=job.job_id, epoch=job.epoch,
                    stage=job.stage,
                )  # fmt: skip
        if decision is None:
            raise FencedError(str(job.job_id))
        if decision.role is Role.TWIN:
            raise Parked
        if decision.code is not None:
            raise _failed_before(decision.code, decision.detail)
        return decision.role, decision.facts

    async def _download(self) -> tuple[Path, bytes]:
        path = self._folder / "source"
        with self._step("download"):
            sha256 = await self._store.download(
                self._job.object_key, path, if_match=self._job.etag, version_id=self._job.version_id
            )
        return path, bytes.fromhex(sha256)

    async def _already_known(self) -> frozenset[str]:
        if self._job.epoch == 1:
            return frozenset()
        async with self._database.transaction() as connection:
            return await variants.committed_profiles(connection, self._job.asset_id, self._job.generation)

    async def _made_before(self, sha256: bytes, wanted: list[Profile]) -> Sequence[NewVariant]:
        async with self._database.transaction() as connection:
            found = await variants.of_content(connection, self._job.tenant_id, sha256, wanted)
        # A row outlasts its objects in a bucket that was restored, or whose rules removed too much.
        there = await asyncio.gather(*(self._is_there(variant) for variant in found))
        lost = [variant.profile for variant, is_there in zip(found, there, strict=True) if not is_there]
        if lost:
            log.warning("objects that rows name are gone; they are made again", profiles=lost, sha256=sha256.hex())
        return [variant for variant in found if variant.profile not in lost]

    async def _is_there(self, variant: NewVariant) -> bool:
        for key in variant.object_keys():
            # Patient, as the gate is: places that are all taken by files would look as if the store were away.
            if await self._store.head(key, patient=True) is None:
                return False
        return True

    async def _make(self, path: Path, sha256: bytes, profiles: list[Profile]) -> tuple[tuple[NewVariant, ...], Facts]:
        job = self._job
        source = Source(path=str(path), size=job.size, declared_type=job.content_type, file_name=job.file_name)
        outputs = Outputs(job, sha256, self._database, self._store, on_outage=self._on_outage)
        progress = Progress(job, self._database)
        began = time.time()
        try:
            with self._step("process"):
                _, report = await self._pool.process(
                    job.stage, source, self._folder, profiles, on_rendition=outputs.put, on_progress=progress.note
                )
            self._cost = report
            self._trace_steps(report, began)
            with self._step("upload"):
                rest = await outputs.close()
                await progress.close()
        except MediaError as error:
            if error.cost is not None:
                self._cost = error.cost
                self._trace_steps(error.cost, began)
            raise
        finally:
            outputs.abandon()
            progress.abandon()
        return rest, _facts(report)

    def _trace_steps(self, cost: Cost, began: float) -> None:
        """Make spans of the steps in the child. Its times are its own word: none leaves the time it was asked for."""
        now = time.time()
        for step in cost.steps:
            start = min(now, max(began, step.started_at_unix))
            self._tracing.past(step.name, start, min(now, start + max(0.0, step.seconds)))

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started, clock = time.time(), time.perf_counter()
        with self._tracing.span(name):
            try:
                yield
            finally:
                seconds = time.perf_counter() - clock
                self._steps.append({"name": name, "started_at_unix": started, "seconds": seconds})


def _failed_before(code: str, detail: str) -> MedialaneError:
    """What the same bytes failed of, at the hands of a newer release perhaps: for good, whatever it calls it."""
    if code in ErrorCode.__members__.values():
        return MedialaneError(ErrorCode(code), detail)
    return MedialaneError(ErrorCode.UNSUPPORTED_FORMAT, detail, told=code)


def _facts(report: ProcessingReport) -> Facts:
    return Facts(width=report.width, height=report.height, duration_s=report.duration_s, details=report.details)
