"""Tells what the kernel keeps from the processing children, since a missing wall shows in nothing else."""

import structlog

from connectors.telemetry.metrics import Metrics
from processors.contract import Walls
from schemas.metrics import SANDBOX_WALLS

log = structlog.get_logger(__name__)


def show_walls(walls: Walls, metrics: Metrics) -> None:
    """Set the gauges, and warn of each wall that is not there."""
    metrics.gauge(SANDBOX_WALLS, "network").set(walls.network)
    metrics.gauge(SANDBOX_WALLS, "files").set(walls.files)
    if not walls.network:
        log.warning("media children keep the network: the kernel or the container forbids namespaces")
    if not walls.files:
        log.warning("media children are kept from other files by nothing: the kernel has no Landlock, or hides it")
