"""Runs inside a sandboxed child that somebody has taken over: it does what keeps others from killing or reaping it."""

import ctypes
import os
import platform
import threading
import time
from pathlib import Path

_SEIZE = 0x4206
_TRACE_EXIT = 1 << 6
_PR_SET_PTRACER = 0x59616D61

libc = ctypes.CDLL(None, use_errno=True)


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=escapes:around: the job's file says in which of `WAYS`, and how it ends."""
    source = Path(job.source.path)
    way, _, end = source.read_bytes()[:20].decode(errors="replace").partition(" ")
    if way not in WAYS:
        return run(job)
    WAYS[way]()
    source.with_name("escaped").touch()
    if end == "die":
        os._exit(3)
    while True:
        time.sleep(60)


def _leave_group():
    """For the nursery's own, which is in the same session."""
    os.setpgid(0, os.getpgid(os.getppid()))


def _be_traced(options=0):
    """By a process in a session of its own: a dead one is its tracer's to reap, as long as that lives."""
    traced = os.getpid()
    libc.prctl(_PR_SET_PTRACER, ctypes.c_ulong(2**64 - 1), 0, 0, 0)

    def trace(tell):
        os.setsid()
        _seize(traced, options)
        tell(b"x")

    _forked(trace)


def _trace_orphan():
    """It is the nursery's child by then, and still not the nursery's to reap."""

    def leave_orphan(tell):
        tell(_forked(lambda tell: tell(str(os.getpid()).encode())))
        os._exit(0)

    _seize(int(_forked(leave_orphan)), 0)


def _lose_head():
    """Its first thread is dead, and the kernel says of it what it says of the dead; the other one is not."""

    def lose_head(tell):
        os.setsid()
        threading.Thread(target=time.sleep, args=(600,)).start()
        tell(b"x")
        libc.syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)

    _forked(lose_head)


def _seize(pid, options):
    if libc.ptrace(_SEIZE, pid, None, ctypes.c_void_p(options)):
        raise OSError(ctypes.get_errno(), "ptrace")


def _forked(act):
    """Fork a process that acts and stays; returns what it tells."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        try:
            os.close(ours)
            act(lambda said: os.write(theirs, said))
            os.closerange(3, 256)
            while True:
                time.sleep(60)
        finally:
            os._exit(1)
    os.close(theirs)
    said = os.read(ours, 20)
    assert said, "it failed"
    return said


WAYS = {
    "leave": _leave_group,
    "traced": _be_traced,
    "held": lambda: _be_traced(_TRACE_EXIT),
    "trace": _trace_orphan,
    "headless": _lose_head,
}
