"""What crosses the line between a worker and the media processors: requests, results and failures as plain data."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.details import NO_NUL, Details, Text
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Part


class Source(msgspec.Struct, frozen=True):
    """A local file to process.

    `declared_type` and `file_name` are the client's words: they go into messages for people and decide nothing.
    """

    path: str
    size: int
    declared_type: str
    file_name: str


class Rendition(msgspec.Struct, frozen=True):
    """One finished file. Size in bytes, sha256 in hex, duration in seconds or None.

    Width and height are pixels, 0 for sound.
    `parts` are the files beside it that it names, in the order in which they have to be stored, itself last.
    """

    profile: Text
    profile_version: int
    path: str
    content_type: Text
    format: Text
    width: int
    height: int
    duration_s: float | None
    size: int
    sha256: Text
    parts: tuple[Part, ...] = ()


class StageTiming(msgspec.Struct, frozen=True):
    """One step inside a job: when it began (seconds since the epoch) and how long it took (seconds)."""

    name: Annotated[str, Meta(max_length=100, pattern=NO_NUL)]
    started_at_unix: float
    seconds: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a job took, however it ended.

    `cpu_s` is user plus system time of the child and of every ffmpeg and ffprobe that it ran; `max_rss_mb` is the peak
    of the largest of them during this job, in MiB. Of a child that was killed the kernel tells the peak of its life.
    """

    cpu_s: float
    max_rss_mb: float
    stages: tuple[StageTiming, ...] = ()


class ProcessingReport(Cost, frozen=True, kw_only=True):
    """What the source was and what it cost. Width and height are the upright source's, in pixels, 0 for sound."""

    kind: Literal["image", "video", "audio"]
    format: Text
    width: int
    height: int
    duration_s: float | None
    details: Details = Details()


class Walls(msgspec.Struct, frozen=True):
    """What the kernel keeps from the children.

    The network; all files but their own cell's and code; signals to any process but their own; every capability.
    """

    network: bool
    files: bool
    signals: bool
    privileges: bool


class MediaError(MedialaneError):
    """Processing failed; whether the same work may succeed later is a property of the code (`schemas.errors`).

    `cost` is what is known of what it took until then: what failed has used the machine, too.
    """

    def __init__(self, code: ErrorCode, detail: str = "", cost: Cost | None = None) -> None:
        super().__init__(code, detail)
        self.cost = cost
