"""Runs inside a sandboxed child that somebody has taken over: it tries every path that its file lists."""

import os
from pathlib import Path

from processors.contract import MediaError
from schemas.errors import ErrorCode


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=nosy:around. Fails with the tries that succeeded."""
    tries = (each.split(" ", 1) for each in Path(job.source.path).read_text().splitlines())
    reached = [f"{act} {path}" for act, path in tries if _succeeds(act, path)]
    raise MediaError(ErrorCode.PROCESSING_FAILED, "\n".join(reached))


def _succeeds(act, path):
    try:
        match act:
            case "read":
                Path(path).read_bytes()
            case "list":
                list(Path(path).iterdir())
            case "write":
                Path(path).write_text("mine now")
            case "remove":
                Path(path).unlink()
            case "link":
                os.link(path, "stolen")
    except OSError:
        return False
    return True
