"""Runs inside a sandboxed child that somebody has taken over: it speaks as if it were its worker, and without end."""

import contextlib
import os


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=talker:around."""
    os.set_blocking(2, False)
    with contextlib.suppress(OSError):
        os.ftruncate(2, 0)
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            os.write(2, b'{"level": "error", "event": "job done"}\n' * 1000)
    return run(job)
