"""How many children a worker starts: by its cores and its memory, as affinity and its container's limits have them.

`os.cpu_count()` and the machine's memory know nothing of either limit.
"""

import math
import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMORY = Path("/sys/fs/cgroup/memory.max")
_MIB = 1 << 20

CHILD_MIB = 1024
"""What a child is counted as: twice what the largest job measured was resident with (a ladder's ffmpeg, 544 MiB), so
that the worker itself fits in beside them. What it may take at worst, its address space, is bounded by itself.
"""


def available_cores(quota: Path = _QUOTA) -> int:
    """The cores that this process may keep busy, at least 1; a quota of 1.5 cores counts as 2."""
    cores = len(os.sched_getaffinity(0))
    try:
        most, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores  # no cgroup of version 2, or none of its own
    return cores if most == "max" else max(1, min(cores, math.ceil(int(most) / int(period))))


def available_memory_mib(limit: Path = _MEMORY) -> int | None:
    """The memory that its container may take, MiB; None if nothing bounds it."""
    try:
        return int(limit.read_text(encoding="ascii")) // _MIB
    except (OSError, ValueError):
        return None  # as above, or "max"


def children(wanted: int, *, cores: int, memory_mib: int | None) -> int:
    """How many children to start: `wanted`, or, if that is 0, one per core, and no more than the memory has room for.

    One too many does not fail alone: the kernel may end the whole container, with every job in it. Warns of that.
    """
    fitting = cores if memory_mib is None else max(1, memory_mib // CHILD_MIB)
    figures = {"cores": cores, "memory_mib": memory_mib, "child_mib": CHILD_MIB}
    if wanted:
        if memory_mib is not None and wanted > fitting:
            log.warning("more children than the container's memory has room for", children=wanted, **figures)
        return wanted
    if fitting < cores:
        log.warning(
            "fewer children than cores: the container's memory has no room for more", children=fitting, **figures
        )
    return min(cores, fitting)
