"""Runs inside a sandboxed child that somebody has taken over: it starts what is to outlive it, and whatever kills it."""

import os
import time
from pathlib import Path


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=strays:around."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            for _ in range(2):
                os.fork()
            os.closerange(3, 256)
            while True:
                time.sleep(60)
    if Path(job.source.path).read_bytes().startswith(b"die"):
        os._exit(3)
    return run(job)
