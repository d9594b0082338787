"""The outbox connector: its configuration as data, a client of Connect's REST interface, and a watchdog."""

from connectors.debezium.client import ConnectClient, ConnectError, ConnectorStatus, TaskStatus
from connectors.debezium.config import connector_config, source
from connectors.debezium.watchdog import Report, Watchdog

__all__ = [
    "ConnectClient",
    "ConnectError",
    "ConnectorStatus",
    "Report",
    "TaskStatus",
    "Watchdog",
    "connector_config",
    "source",
]
