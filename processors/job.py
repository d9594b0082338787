"""One job as the pipelines see it, and the small things every pipeline needs: step timings and finished files."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from processors.bundles import part_type
from processors.contract import Rendition, Source, StepTiming
from schemas.details import Details
from schemas.events import Part
from schemas.profiles import Profile
from schemas.settings import ProcessorSettings
from schemas.states import Stage

LONGEST_S = 20 * 3600.0
"""No film may claim more: it is less than the keeper's orphan age, after which its objects would count as nobody's."""


@dataclass(frozen=True)
class Job:
    """What to make of which file, where, and whom to tell about each finished file and about progress (0 to 1).

    `probed` is to be told a video's length in seconds of 1080p of 30 frames each, by which it may take longer.
    `threads` is how many threads an ffmpeg of this job may use.
    """

    stage: Stage
    source: Source
    workdir: Path
    profiles: tuple[Profile, ...]
    settings: ProcessorSettings
    threads: int
    made: Callable[[Rendition], None]
    progressed: Callable[[float], None]
    probed: Callable[[float], None] = lambda _: None
    timings: "Timings" = field(default_factory=lambda: Timings())  # noqa: PLW0108 - defined below

    def output(self, profile: Profile) -> Path:
        """Where a profile's file goes."""
        return place_of(profile, self.workdir)

    def finish(
        self,
        profile: Profile,
        width: int,
        height: int,
        duration_s: float | None = None,
        parts: Sequence[str] = (),
    ) -> Rendition:
        """Describe the finished file of a profile and announce it.

        `parts` are the files beside it that it names, in the order of their use.
        """
        path = self.output(profile)
        rendition = Rendition(
            profile=profile.name,
            profile_version=profile.version,
            path=str(path),
            content_type=profile.content_type,
            format=profile.format,
            width=width,
            height=height,
            duration_s=duration_s,
            size=path.stat().st_size,
            sha256=_digest(path),
            parts=tuple(
                Part(
                    name,
                    part_type(profile.format, name) or "",
                    (path.parent / name).stat().st_size,
                    _digest(path.parent / name),
                )
                for name in parts
            ),
        )
        self.made(rendition)
        return rendition


def place_of(profile: Profile, folder: Path) -> Path:
    """Where in a job's folder a profile's file is; a bundle's has the files that it names beside it."""
    own = folder / profile.name if profile.is_bundle else folder
    return own / f"{profile.name}.{profile.extension}"


def longest_s(settings: ProcessorSettings, work_s: float) -> float:
    """How long a job of a video may take, seconds. `work_s` is its length as if it were 1080p of 30 frames a second."""
    return max(settings.video_timeout_s, min(settings.video_timeout_ratio * work_s, LONGEST_S))


@dataclass(frozen=True)
class Outcome:
    """What a pipeline learned about its source; `helper_rss_mb` is the peak of the programs that it ran, in MiB."""

    kind: Literal["image", "video", "audio"]
    format: str
    width: int
    height: int
    duration_s: float | None = None
    helper_rss_mb: float = 0.0
    details: Details = field(default_factory=Details)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Timings:
    """Collects how long each step of a job took."""

    def __init__(self) -> None:
        self._steps: list[StepTiming] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as one step."""
        began, clock = time.time(), time.perf_counter()
        try:
            yield
        finally:
            self._steps.append(StepTiming(name, began, time.perf_counter() - clock))

    def taken(self) -> tuple[StepTiming, ...]:
        """The steps so far, in the order in which they ended."""
        return tuple(self._steps)
