"""Runs inside a sandboxed child that somebody has taken over: it tells of its job what no job can be."""

from dataclasses import replace


def around(run, job):
    """Set by MEDIALANE_PROCESSOR_AROUND=liar:around."""
    return replace(run(job), width=-1)
