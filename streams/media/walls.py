"""Tells what the kernel keeps from the processing children, since a missing wall shows in nothing else."""

import msgspec
import structlog

from connectors.telemetry.metrics import Metrics
from processors.contract import Walls
from schemas.metrics import SANDBOX_WALLS

log = structlog.get_logger(__name__)


def show_walls(walls: Walls, metrics: Metrics) -> None:
    """Set the gauges, and warn of each wall that is not there."""
    for wall, is_up in msgspec.structs.asdict(walls).items():
        metrics.gauge(SANDBOX_WALLS, wall).set(is_up)
    if not walls.network:
        log.warning("media children keep the network: the kernel or the container forbids namespaces")
    if not walls.files:
        log.warning("media children are kept from other files by nothing: the kernel has no Landlock, or hides it")
    elif not walls.signals:
        log.warning("media children can signal their user's other processes: the kernel's Landlock is too old for that")
    if not walls.privileges:
        log.warning("media children keep capabilities: seccomp forbids capset, or code is in a folder closed to root")
