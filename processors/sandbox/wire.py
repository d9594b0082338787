"""The messages between worker, nursery and children: msgpack, one message per datagram of a SOCK_SEQPACKET socket."""

import socket
from typing import Annotated

import msgspec
from msgspec import Meta

from processors.contract import Cost, ProcessingReport, Rendition, Source, Walls
from schemas.details import NO_NUL
from schemas.errors import ErrorCode
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
    """Nursery to worker: a child and its process group are gone; `status` is a wait status.

    `cpu_s` and `max_rss_mb` (MiB) are of its whole life, what it started included.
    """

    child: int
    status: int
    cpu_s: float
    max_rss_mb: float


class Task(msgspec.Struct, frozen=True, tag=True):
    """Worker to child: one job, whose source is in its cell. `skip` names profiles that exist already."""

    stage: Stage
    source: Source
    profiles: tuple[Profile, ...]
    skip: frozenset[str]


class Made(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: a file is finished."""

    rendition: Rendition


class Progressed(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: the share of the job that is done, 0 to 1."""

    fraction: float


class Probed(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: how long the video is, in seconds of 1080p of 30 frames each."""

    work_s: float


class Done(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: the job is finished.

    `rss_mb` is what the child holds now, in MiB, `used_s` the CPU seconds of its life so far.
    """

    report: ProcessingReport
    rss_mb: float
    used_s: float


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Child to worker: the job failed; the child lives. The rest is as in `Done`."""

    code: ErrorCode
    detail: Annotated[str, Meta(max_length=LONGEST_DETAIL, pattern=NO_NUL)]
    cost: Cost
    rss_mb: float
    used_s: float


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
