"""One task given to a child, and its answers; nothing of them is believed that can be known without it."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from processors.contract import MediaError, Rendition
from processors.sandbox import limits, wire
from processors.sandbox.handle import Child
from schemas.errors import ErrorCode

DEATH_BOUND_S = 10.0
"""How long a child may take to die."""


class Conversation:
    """One task and its answers."""

    def __init__(
        self,
        child: Child,
        task: wire.Task,
        workdir: Path,
        on_rendition: Callable[[Rendition], None] | None,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        self._child = child
        self._task = task
        self._workdir = workdir
        self._on_rendition = on_rendition
        self._on_progress = on_progress
        self.renditions: list[Rendition] = []

    async def hold(self, on_probed: Callable[[float], None]) -> wire.Done | wire.Failed:
        """Send the task and listen until its end. Raises `MediaError` if the child dies."""
        source = self._child.cell.bring_in(self._task.source)
        await self._child.send(msgspec.structs.replace(self._task, source=source))
        while True:
            message = await self._child.receive()
            match message:
                case None:
                    await self._child.wait_gone(DEATH_BOUND_S)
                    raise limits.death(self._child.status, "decoder")
                case wire.Made(rendition):
                    self._made(rendition)
                case wire.Progressed(fraction):
                    if self._on_progress:
                        self._on_progress(fraction)
                case wire.Probed(work_s):
                    on_probed(work_s)
                case wire.Done() | wire.Failed():
                    return message

    def _made(self, rendition: Rendition) -> None:
        asked = {profile.name: profile for profile in self._task.profiles if profile.name not in self._task.skip}
        profile = asked.get(rendition.profile)
        if profile is None:
            raise MediaError(
                ErrorCode.PROCESSING_FAILED, f"The child made {rendition.profile}, which nobody asked for."
            )
        moved = self._child.cell.take_out(rendition, profile, self._workdir)
        self.renditions.append(moved)
        if self._on_rendition:
            self._on_rendition(moved)
