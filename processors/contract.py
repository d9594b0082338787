"""What crosses the line between a worker and the media processors: requests, results and failures as plain data."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.details import Details, Text, Word
from schemas.errors import ErrorCode, MedialaneError
from schemas.events import Part
from schemas.profiles import CATALOGUE

# A child says these, and may have been taken over: what no job can be is refused where it is read, NaN by any bound.
_Pixels = Annotated[int, Meta(ge=0, le=1_000_000)]
_Bytes = Annotated[int, Meta(ge=0, le=1 << 50)]
_Seconds = Annotated[float, Meta(ge=0, le=10_000_000)]
_Moment = Annotated[float, Meta(ge=0, le=100_000_000_000)]
MiB = Annotated[float, Meta(ge=0, le=1 << 30)]
SHA256 = r"\A[0-9a-f]{64}\Z"

STEPS = frozenset(
    {
        "sniff", "inspect", "decode", "placeholder", "probe", "loudness", "ffmpeg", "check", "storyboard", "ladder",
        "waveform", "own", *CATALOGUE,
    }
)  # fmt: skip
"""What a job's steps are called: they become labels of metrics. `own` is any profile of a tenant's own."""


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
    width: _Pixels
    height: _Pixels
    duration_s: _Seconds | None
    size: _Bytes
    sha256: Annotated[str, Meta(pattern=SHA256)]
    parts: Annotated[tuple[Part, ...], Meta(max_length=100)] = ()


class StepTiming(msgspec.Struct, frozen=True):
    """One step of `STEPS` inside a job: when it began (seconds since the epoch) and how long it took (seconds)."""

    name: Annotated[str, Meta(pattern=rf"\A({'|'.join(sorted(STEPS))})\Z")]
    started_at_unix: _Moment
    seconds: _Seconds


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a job took, however it ended.

    `cpu_s` is user plus system time of the child and of every ffmpeg and ffprobe that it ran, by the kernel's account;
    `max_rss_mb` is the peak of the largest of them during this job, in MiB, as the child tells it. Of a child that was
    killed the kernel tells the peak of its life.
    """

    max_rss_mb: MiB
    cpu_s: _Seconds = 0.0
    steps: Annotated[tuple[StepTiming, ...], Meta(max_length=200)] = ()


class ProcessingReport(Cost, frozen=True, kw_only=True):
    """What the source was and what it cost. Width and height are the upright source's, in pixels, 0 for sound."""

    kind: Literal["image", "video", "audio"]
    format: Word
    width: _Pixels
    height: _Pixels
    duration_s: _Seconds | None
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
