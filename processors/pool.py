"""The pool of warm, killable media children that a worker's event loop calls.

`start()` runs the nursery (a process of its own, see `processors.sandbox`); each running job has one child to itself.
Whatever happens to a child (crash, limit, timeout, cancellation), it and its ffmpeg are killed as a group and a fresh
one takes its place.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from processors.contract import MediaError, ProcessingReport, Rendition, Source, Walls
from processors.conversation import DEATH_BOUND_S, Conversation
from processors.job import longest_s
from processors.sandbox import limits, wire
from processors.sandbox.handle import Child, NurseryHandle
from schemas.errors import ErrorCode
from schemas.profiles import Profile
from schemas.settings import ProcessorSettings
from schemas.states import MediaKind, Stage

# A warm child holds about 100 MiB; one that holds more than this after a job kept something it should not have.
_RETIRE_ABOVE_MB = 384.0


class MediaPool:
    """Runs media jobs in child processes, `workers` at once. One event loop only."""

    def __init__(self, settings: ProcessorSettings, *, workers: int, folder: Path, cores: int | None = None) -> None:
        """Children get their cells in `folder`, best on the disk of the jobs' folders: otherwise files are copied.

        `cores` are what they share; the machine's, if not said.
        """
        self._settings = settings
        self._folder = folder
        self._workers = workers
        self._cores = cores or os.cpu_count() or 1
        self._nursery: NurseryHandle | None = None
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[Child] = []
        self._running = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closing = False

    def start(self) -> None:
        """Start the nursery and the first children; blocks for about a second. Call it early, before the event loop.

        Raises `MediaError` (`processing_failed`) if the nursery does not come up.
        """
        # One ffmpeg uses its share of the cores: more threads finish one video sooner and all of them later.
        threads = max(1, self._cores // self._workers)
        self._nursery = NurseryHandle(self._settings, threads, self._folder)
        for _ in range(self._workers):
            self._idle.append(self._nursery.spawn())

    @property
    def walls(self) -> Walls:
        """What the kernel keeps from the children. Raises `RuntimeError` before the start."""
        return self._started().walls

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return self._running

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the nursery and of its children, for metrics of memory."""
        return self._nursery.pids if self._nursery else ()

    async def process(
        self,
        stage: Stage,
        source: Source,
        workdir: Path,
        profiles: Sequence[Profile],
        *,
        on_rendition: Callable[[Rendition], None] | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[list[Rendition], ProcessingReport]:
        """Make these profiles of a stage, as files in `workdir`, which is the job's own.

        Waits for a free child. `on_rendition` is called in the event loop as each file is finished, `on_progress` with
        the share that is done, 0 to 1, now and then (video). Cancelling the awaiting task kills the child and its
        ffmpeg before the cancellation goes on, so that the folder may be removed.
        Raises `MediaError`, with what it cost as far as anybody knows.
        """
        task = wire.Task(stage, source, tuple(profiles))
        async with self._slots:
            if self._closing:
                raise MediaError(ErrorCode.CHILD_DIED, "The pool is closing.")
            self._running += 1
            self._quiet.clear()
            try:
                return await self._run(task, workdir, on_rendition, on_progress)
            finally:
                self._running -= 1
                if not self._running:
                    self._quiet.set()

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - a bound for the jobs, not for the caller
        """Take no new jobs, give the running ones `timeout` seconds, then kill what is left. Idempotent."""
        self._closing = True
        try:
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        except TimeoutError:
            pass
        if self._nursery:
            nursery, self._nursery = self._nursery, None
            await nursery.close()
            self._dismiss()

    async def _run(
        self,
        task: wire.Task,
        workdir: Path,
        on_rendition: Callable[[Rendition], None] | None,
        on_progress: Callable[[float], None] | None,
    ) -> tuple[list[Rendition], ProcessingReport]:
        child = self._take()
        conversation = Conversation(child, task, workdir, on_rendition, on_progress)
        try:
            end = await self._heard(conversation, task.stage)
        except BaseException as error:
            await self._replace(child)
            if isinstance(error, MediaError):
                error.cost = child.unpaid  # known now that it is buried
            raise
        taken_s = child.taken_s()
        await self._give_back(child, end.rss_mb)
        if taken_s is None:  # it has died since
            taken_s = child.unpaid.cpu_s if child.unpaid else 0.0
        if isinstance(end, wire.Failed):
            raise MediaError(end.code, end.detail, msgspec.structs.replace(end.cost, cpu_s=taken_s))
        return conversation.renditions, msgspec.structs.replace(end.report, cpu_s=taken_s)

    async def _heard(self, conversation: Conversation, stage: Stage) -> wire.Done | wire.Failed:
        began, allowed = asyncio.get_running_loop().time(), self._timeout(stage)
        try:
            async with asyncio.timeout(allowed) as bound:

                def probed(work_s: float) -> None:
                    nonlocal allowed
                    allowed = max(allowed, self._timeout(stage, work_s))
                    bound.reschedule(began + allowed)

                return await conversation.hold(probed)
        except TimeoutError:
            raise MediaError(ErrorCode.PROCESSING_TIMEOUT, f"Not finished after {allowed:g} s.") from None

    def _timeout(self, stage: Stage, work_s: float = 0.0) -> float:
        image = stage.kind is MediaKind.IMAGE
        return self._settings.image_timeout_s if image else longest_s(self._settings, work_s)

    def _take(self) -> Child:
        try:
            if self._nursery is None or not self._nursery.alive:
                self._dismiss()
                self.start()
            nursery = self._started()
            nursery.listen()
            while self._idle:
                child = self._idle.pop()
                if child.alive:
                    return child
                child.close()
            return nursery.spawn()
        except OSError as error:
            raise limits.os_failure(error) from error

    def _started(self) -> NurseryHandle:
        if self._nursery is None:
            raise RuntimeError("not started")
        return self._nursery

    def _dismiss(self) -> None:
        """Let go of idle children whose nursery is gone."""
        while self._idle:
            self._idle.pop().close()

    async def _give_back(self, child: Child, rss_mb: float) -> None:
        """Keep a child for the next job if it is as good as new."""
        young = rss_mb < _RETIRE_ABOVE_MB and child.jobs < self._settings.jobs_per_child
        if young and child.alive and child.cell.clear():
            self._idle.append(child)
        else:
            await self._replace(child)

    async def _replace(self, child: Child) -> None:
        """Kill a child and wait for its end; then let a fresh one warm up for the next job."""
        if self._nursery and child.alive:  # a dead one's number may be another's, in a nursery that was started since
            self._nursery.kill(child)
        try:
            # A second cancellation must not leave a live child behind in a folder that is about to be removed.
            await _uninterrupted(asyncio.create_task(_end_of(child)))
        finally:
            child.close()
            self._warm_up()

    def _warm_up(self) -> None:
        enough = len(self._idle) > self._workers - self._running  # every other job that runs has its own
        if self._nursery and self._nursery.alive and not enough:
            with contextlib.suppress(OSError):  # no disk, no descriptors: the next job asks again, and says so
                self._idle.append(self._nursery.spawn())


async def _end_of(child: Child) -> None:
    with contextlib.suppress(MediaError):  # the kernel lets it die late: what is told is why it was killed
        await child.wait_gone(DEATH_BOUND_S)


async def _uninterrupted(task: "asyncio.Task[None]") -> None:
    """Wait for a task to end even if the waiter is cancelled meanwhile; the cancellation goes on afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
