"""Resident memory of every process of the stack with its children, after whatever was measured before."""

from cli.bench.context import Bench
from cli.bench.figures import Figure
from cli.bench.processes import resident_mb


def measure(bench: Bench) -> list[Figure]:
    """`rss_mb_<process>`; a page that processes share counts once."""
    found = resident_mb(bench.pids())
    return [Figure(f"rss_mb_{name.replace('-', '_')}", mb, "MiB") for name, mb in sorted(found.items())]
