"""One task given to a child, and its answers; nothing of them is believed that can be known without it."""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from processors.bundles import part_type
from processors.contract import SHA256, MediaError, Rendition
from processors.sandbox import limits, wire
from processors.sandbox.handle import Child
from schemas.errors import ErrorCode
from schemas.events import Part
from schemas.profiles import Profile

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
        self._asked = {profile.name: profile for profile in task.profiles}
        self.renditions: list[Rendition] = []

    async def hold(self, on_probed: Callable[[float], None]) -> wire.Done | wire.Failed:
        """Send the task and listen until its end. Raises `MediaError` if the child dies."""
        self._child.begin()  # what fails from here on pays its own, and not what the job before it took
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
        profile = self._asked.pop(rendition.profile, None)
        if profile is None:
            detail = f"The child made {rendition.profile}, which nobody asked for, or asks for again."
            raise MediaError(ErrorCode.PROCESSING_FAILED, detail)
        moved = self._child.cell.take_out(_as_asked(rendition, profile), profile, self._workdir)
        self.renditions.append(moved)
        if self._on_rendition:
            self._on_rendition(moved)


def _as_asked(rendition: Rendition, profile: Profile) -> Rendition:
    """The rendition with all that follows from the profile. Raises `MediaError`."""
    parts = tuple(msgspec.structs.replace(part, content_type=_kind(part, profile)) for part in rendition.parts)
    if len({part.name for part in parts}) < len(parts):
        raise MediaError(ErrorCode.PROCESSING_FAILED, f"The child names a file of {profile.name} twice.")
    return msgspec.structs.replace(
        rendition, profile_version=profile.version, content_type=profile.content_type, format=profile.format,
        parts=parts,
    )  # fmt: skip


def _kind(part: Part, profile: Profile) -> str:
    kind = part_type(profile.format, part.name)
    if kind is None or not re.fullmatch(SHA256, part.sha256):
        raise MediaError(ErrorCode.PROCESSING_FAILED, f"The child names a file that {profile.name} does not have.")
    return kind
