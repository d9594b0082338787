"""Runs inside a sandboxed child that somebody has taken over: it tries every act that its file lists."""

import os
import socket
from pathlib import Path

from processors.contract import MediaError
from schemas.errors import ErrorCode

ACTS = {
    "read": lambda path: Path(path).read_bytes(),
    "list": lambda path: list(Path(path).iterdir()),
    "write": lambda path: Path(path).write_text("mine now"),
    "remove": lambda path: Path(path).unlink(),
    "link": lambda path: os.link(path, "stolen"),
    "signal": lambda pid: os.kill(int(pid) or os.getpid(), 0),
    "tcp": lambda port: socket.create_connection(("127.0.0.1", int(port)), 5).close(),
    "udp": lambda port: socket.socket(type=socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", int(port))),
    "become": lambda uid: os.setuid(int(uid)),
    "hand over": lambda uid: os.chown("source.bin", int(uid), -1),
}


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=nosy:around. Fails with the tries that succeeded."""
    tries = (each.rsplit(" ", 1) for each in Path(job.source.path).read_text().splitlines())
    reached = [f"{act} {what}" for act, what in tries if _succeeds(act, what)]
    raise MediaError(ErrorCode.PROCESSING_FAILED, "\n".join(reached))


def _succeeds(act, what):
    try:
        ACTS[act](what)
    except OSError:
        return False
    return True
