"""Runs inside a sandboxed child: it finds no room on the disk."""

import errno


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=full:around."""
    raise OSError(errno.ENOSPC, "No space left on device")
