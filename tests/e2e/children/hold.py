"""Runs inside the sandboxed children: a job whose file names a folder waits until the test lets it go on.

The job's first run leaves its process id in that folder as `run-1` and waits for `go-1`, its second one as `run-2`, and
so on. The media work, which follows, is the product's own.
"""

import os
import re
import time
from pathlib import Path

_TOLD = re.compile(rb"hold=([^;]+);")
_TAIL = 512


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=hold:around."""
    told = _told(Path(job.source.path))
    if told:
        number = _sign_in(told)
        while not (told / f"go-{number}").exists():
            time.sleep(0.02)
    return run(job)


def _sign_in(folder):
    note = folder / f"pid-{os.getpid()}-{time.monotonic_ns()}"
    note.write_text(str(os.getpid()))
    number = 1
    while True:
        try:
            os.link(note, folder / f"run-{number}")  # whole, and only one of two gets it
        except FileExistsError:
            number += 1
        else:
            return number


def _told(path):
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        found = _TOLD.search(file.read())
    return Path(os.fsdecode(found[1])) if found else None
