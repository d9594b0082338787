"""The messages between worker, nursery and children: msgpack, one message per datagram of a SOCK_SEQPACKET socket."""

import socket
from typing import Annotated

import msgspec
from msgspec import Meta

from processors.contract import Cost, MiB, ProcessingReport, Rendition, Source, Walls
from schemas.details import NO_NUL
from schemas.errors import ERRORS, ErrorClass, ErrorCode
from schemas.profiles import Profile
from schemas.settings import ProcessorSettings
from schemas.states import Stage

MAX_MESSAGE = 128 * 1024
LONGEST_DETAIL = 4000


class Configure(msgspec.Struct, frozen=True, tag=True):
    """Worker to nursery, once, first. Cells will be in `folder`."""

    settings: ProcessorSettings
    threads: int
    folder: str


class Spawn(msgspec.Struct, frozen=True, tag=True):
    """Worker to nursery, with the child's end of its socket attached: fork a child that lives in the folder `cell`."""

    child: int
    cell: str


class Kill(msgspec.Struct, frozen=True, tag=True):
    """Worker to nursery: kill a child and all that it started. Unknown numbers are ignored (it died already)."""

    child: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Nursery to worker: everything is imported, and these walls the kernel has put up."""

    walls: Walls


class Spawned(msgspec.Struct, frozen=True, tag=True):
    """Nursery to worker: the child's process id."""

    child: int
    pid: int


class Exited(msgspec.Struct, frozen=True, tag=True):
    """Nursery to worker: a child is gone with what it started; `status` is a wait status.

    `cpu_s` and `max_rss_mb` (MiB) are of its whole life, what it started included.
    """

    child: int
    status: int
    cpu_s: float
    max_rss_mb: float


class Task(msgspec.Struct, frozen=True, tag=True):
    """Worker to child: one job, whose source is in its cell."""

    stage: Stage
    source: Source
    profiles: tuple[Profile, ...]


class Made(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: a file is finished."""

    rendition: Rendition


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: the share of the job that is done, 0 to 1."""

    fraction: Annotated[float, Meta(ge=0, le=1)]


class Probed(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: how long the video is, in seconds of 1080p of 30 frames each."""

    work_s: Annotated[float, Meta(ge=0, le=1e12)]


class Done(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: the job is finished. `rss_mb` is what the child holds now, in MiB."""

    report: ProcessingReport
    rss_mb: MiB


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: the job failed; the child lives. `rss_mb` is as in `Done`.

    A child knows nothing of the database, say, and a full disk is for its worker to see: with a code that costs no
    attempt it could have a job wait for ever.
    """

    code: ErrorCode
    detail: Annotated[str, Meta(max_length=LONGEST_DETAIL, pattern=NO_NUL)]
    cost: Cost
    rss_mb: MiB

    def __post_init__(self) -> None:
        """Refuse what is not a child's to say."""
        if ERRORS[self.code].error_class not in {ErrorClass.PERMANENT, ErrorClass.TRANSIENT}:
            raise ValueError(f"no child fails with {self.code}")


ToNursery = Configure | Spawn | Kill
FromNursery = Ready | Spawned | Exited
FromChild = Made | Progressed | Probed | Done | Failed

_encoder = msgspec.msgpack.Encoder()
to_nursery = msgspec.msgpack.Decoder(ToNursery)
from_nursery = msgspec.msgpack.Decoder(FromNursery)
to_child = msgspec.msgpack.Decoder(Task)
from_child = msgspec.msgpack.Decoder(FromChild)

encode = _encoder.encode


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that keep message borders and report the other side's death as an empty message."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
