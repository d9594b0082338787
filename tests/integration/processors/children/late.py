"""Runs inside a sandboxed child: it tells how long its film is, and is then busy for longer than a short film may be."""

import time

from schemas.states import MediaKind


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=late:around."""
    if job.stage.kind is MediaKind.VIDEO:
        job.probed(1.0)
        time.sleep(job.settings.video_timeout_s + 0.5)
    return run(job)
