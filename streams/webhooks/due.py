"""Takes up what is due: retries, deliveries that found no slot, and those whose agent was lost.

Once per interval the table is asked which endpoints have work that has just come due, and less often which have any at
all; as slots come back, only those endpoints' rows are leased, and no more than there are slots for. A slow or huge
backlog of one endpoint is never walked over for another's.
"""

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import structlog

from connectors.postgres.database import Database
from connectors.postgres.webhooks import deliveries
from connectors.postgres.webhooks.deliveries import DueEndpoint
from connectors.telemetry import Metrics
from schemas.metrics import (
    WEBHOOK_DELIVERIES,
    WEBHOOK_ENDPOINTS_DISABLED,
    WEBHOOK_OLDEST_DUE_AGE,
    WEBHOOK_OLDEST_HELD_BACK_AGE,
)
from streams.webhooks.pace import is_outage, pause
from streams.webhooks.sender import Sender
from streams.webhooks.slots import Slots
from streams.webhooks.turns import Turns

log = structlog.get_logger(__name__)

_EXPIRE_BATCH = 1000
# Intervals between looks at every endpoint that anything waits for: each is a probe, and there may be many thousands.
# They find what the others did not: more than these ask for, or what another agent left.
_FULL_EVERY = 10
_MOST_NEWLY_DUE = 5000
# By so much looks overlap: a transaction may be seen only some time after what it made due.
_OVERLAP_S = 5.0
# Between rounds: slots come back one by one, and a round for each would cost more than the requests.
_GATHER_S = 0.004
# A look that gets its answer so much later than it was due: the database was away, or this process stood still.
_AWAY_S = 2.0


class DueLoop:
    """Leases due deliveries and starts them, tenant by tenant in turn."""

    def __init__(
        self,
        database: Database,
        slots: Slots,
        sender: Sender,
        metrics: Metrics,
        *,
        owner: str,
        lease_s: float,
        interval_s: float,
    ) -> None:
        self._database = database
        self._slots = slots
        self._sender = sender
        self._metrics = metrics
        self._owner = owner
        self._lease_s = lease_s
        self._interval_s = interval_s
        self._noticed: dict[UUID, int] = {}  # endpoints with due work, and how often each was noticed
        self._turns = Turns(slots)
        self._stopping, self._over = False, asyncio.Event()
        self._next_look, self._away_until, self._late = 0.0, -math.inf, False
        self._looked_at = -math.inf

    def busy(self, endpoint: UUID) -> bool:
        """Whether deliveries are known to be due for the endpoint."""
        return endpoint in self._noticed

    def notice(self, endpoints: Mapping[UUID, UUID]) -> None:
        """These endpoints, each given with its tenant, have due deliveries."""
        for endpoint, tenant in endpoints.items():
            if endpoint not in self._noticed:
                self._turns.add(endpoint, tenant)
            self._noticed[endpoint] = self._noticed.get(endpoint, 0) + 1
            self._slots.freed.set()

    def stop(self) -> None:
        """Let `run` return after the round and the look that it is in; nothing is leased afterwards."""
        self._stopping = True
        self._over.set()
        self._slots.freed.set()

    async def run(self) -> None:
        """Take up due deliveries until stopped; whatever fails is tried again."""
        # Apart: what is known to be due waits for no look, however long that takes or often it fails; nor do what has
        # just come due and leases that ran out wait for a look at every endpoint.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._looks(), name="webhooks looks")
            tasks.create_task(self._repeat(self._look_at_all_and_wait, "no full look"), name="webhooks full looks")
            await self._repeat(self._round, "due deliveries wait")

    async def _repeat(self, act: Callable[[], Awaitable[None]], failed: str) -> None:
        """Act until stopped; after each failure, which is logged as `failed`, a pause that grows."""
        failures = 0
        while not self._stopping:
            try:
                await act()
                failures = 0
            except Exception as error:
                failures += 1
                log.warning(failed, failures=failures, exc_info=None if is_outage(error) else error)
                await pause(failures)

    async def _looks(self) -> None:
        self._next_look = asyncio.get_running_loop().time()
        await self._repeat(self._look_and_wait, "no look for what is due")

    async def _look_and_wait(self) -> None:
        await self._look()
        self._next_look = asyncio.get_running_loop().time() + self._interval_s
        await _wait(self._over, self._interval_s)

    async def _look_at_all_and_wait(self) -> None:
        await self._look_at_all()
        await _wait(self._over, _FULL_EVERY * self._interval_s)

    async def _round(self) -> None:
        self._slots.freed.clear()
        if await self._lease():
            await asyncio.sleep(_GATHER_S)
        else:
            await _wait(self._slots.freed, self._interval_s)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        since_s = (0.0 if self._looked_at == -math.inf else now - self._looked_at) + _OVERLAP_S
        async with self._database.transaction() as connection:
            # Written even if nothing may expire: a database that only reads does not count as being there.
            batch = _EXPIRE_BATCH if self._settled() else 0
            expired = await deliveries.expire(connection, batch=batch, lease_s=self._lease_s)
            found = await deliveries.newly_due(connection, since_s=since_s, most=_MOST_NEWLY_DUE)
        self._looked_at = now
        self.notice(found)
        if expired:
            log.warning("leases ran out, deliveries are due again", deliveries=expired)

    async def _look_at_all(self) -> None:
        async with self._database.transaction() as connection:
            due = await deliveries.due_endpoints(connection)
        self.notice({one.endpoint_id: one.tenant_id for one in due})
        self._show(due)
        await self._count_disabled()

    async def _count_disabled(self) -> None:
        """Nothing but a gauge hangs on it: it comes after all else, and may fail."""
        try:
            async with self._database.transaction() as connection:
                disabled = await deliveries.count_disabled(connection)
        except Exception as error:
            log.warning("disabled endpoints are not counted", exc_info=None if is_outage(error) else error)
        else:
            self._metrics.gauge(WEBHOOK_ENDPOINTS_DISABLED).set(disabled)

    def _show(self, due: Sequence[DueEndpoint]) -> None:
        # Apart: one tenant's receiver that hangs is nothing that whoever runs this can mend, and would hide what is.
        oldest = {WEBHOOK_OLDEST_DUE_AGE: 0.0, WEBHOOK_OLDEST_HELD_BACK_AGE: 0.0}
        for one in due:
            held_back = self._slots.held_back(one.endpoint_id, one.tenant_id)
            gauge = WEBHOOK_OLDEST_HELD_BACK_AGE if held_back else WEBHOOK_OLDEST_DUE_AGE
            oldest[gauge] = max(oldest[gauge], one.oldest_s)
        self._slots.looked()
        for gauge, age_s in oldest.items():
            self._metrics.gauge(gauge).set(age_s)

    def _settled(self) -> bool:
        """Whether every agent had the time to write the results that it holds since the database was away."""
        now = asyncio.get_running_loop().time()
        late = now - self._next_look > _AWAY_S
        if late and not self._late:  # once per absence: one that is slow for ever must not keep leases for ever
            self._away_until = now
        self._late = late
        return now - self._away_until > self._lease_s

    async def _lease(self) -> int:
        """Lease and start one round; returns how many deliveries moved."""
        taken = Counter[UUID]() if self._stopping else self._turns.take()
        if not taken:
            return 0
        noticed = {endpoint: self._noticed[endpoint] for endpoint in taken}
        try:
            async with self._database.transaction() as connection:
                leased, dead = await deliveries.lease(connection, taken, owner=self._owner, lease_s=self._lease_s)
        except BaseException:
            # What a lost answer leased after all is taken up again when the lease runs out.
            self._give_back(taken)
            raise
        self._give_back(taken - Counter(delivery.endpoint_id for delivery in leased))
        for delivery in leased:
            self._sender.start(delivery)
        self._metrics.counter(WEBHOOK_DELIVERIES, "dead").inc(len(dead))
        moved = Counter(delivery.endpoint_id for delivery in leased) + Counter(dead)
        for endpoint, asked in taken.items():
            # Less than asked for: nothing is left, unless more was noticed meanwhile.
            if moved[endpoint] < asked and self._noticed[endpoint] == noticed[endpoint]:
                del self._noticed[endpoint]
                self._turns.remove(endpoint)
        return moved.total()

    def _give_back(self, unused: Counter[UUID]) -> None:
        for endpoint in unused.elements():
            self._slots.give_back(endpoint)


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
