"""A Connect that holds one connector in memory: for tests of what reacts to it. Held to the same contract as the real one.

And waiting for what either one comes to.
"""

import asyncio

from connectors.debezium import ConnectError, ConnectorStatus, TaskStatus
from connectors.debezium.client import ConnectorState

TRACE = (
    "org.apache.kafka.connect.errors.ConnectException: it\n\tat somewhere\nCaused by: PSQLException: no publication\n"
)


class MemoryConnect:
    """Connectors by name; `broken` ones fail again at every restart."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.restarts = 0
        self.reachable = True
        self._states: dict[str, str] = {}

    async def create(self, name: str, *, broken: bool) -> None:
        """Register a connector, which at once runs or fails."""
        if broken:
            self.broken.add(name)
        self._states[name] = "FAILED" if broken else "RUNNING"

    async def unassign(self, name: str) -> None:
        """Nobody has been given the connector, as after a rebalance that does not end."""
        self._states[name] = "UNASSIGNED"

    async def mend(self, name: str) -> None:
        """Take away what makes a connector fail; it stays down until it is restarted."""
        self.broken.discard(name)

    async def status(self, name: str) -> ConnectorStatus | None:
        """The status, None if there is no such connector."""
        if not self.reachable:
            raise ConnectError("Connect does not answer")
        state = self._states.get(name)
        if state is None:
            return None
        task = TaskStatus(id=0, state=state, worker_id="memory", trace=TRACE if state == "FAILED" else None)
        return ConnectorStatus(
            name=name, connector=ConnectorState(state="RUNNING", worker_id="memory"), tasks=(task,)
        )  # fmt: skip

    async def restart(self, name: str) -> None:
        """Restart what failed."""
        if name not in self._states:
            raise ConnectError("Connect refused: 404 Unknown connector", 404)
        self.restarts += 1
        self._states[name] = "FAILED" if name in self.broken else "RUNNING"


async def until(control, name, holds, within=60):
    """Wait until a connector's status is as it should be; returns it."""
    async with asyncio.timeout(within):
        while True:
            status = await control.status(name)
            if status is not None and holds(status):
                return status
            await asyncio.sleep(0.1)
