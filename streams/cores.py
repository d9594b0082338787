"""How many cores this process may use: by affinity and its container's quota, of which `os.cpu_count` knows neither."""

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores(quota: Path = _QUOTA) -> int:
    """The cores that this process may keep busy, at least 1; a quota of 1.5 cores counts as 2."""
    cores = len(os.sched_getaffinity(0))
    try:
        most, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores  # no cgroup of version 2, or none of its own
    return cores if most == "max" else max(1, min(cores, math.ceil(int(most) / int(period))))
