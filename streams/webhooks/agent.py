"""The agent: takes events in, says when each is durable, and runs planning, sending and the due loop until it stops."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from connectors.http.client import HttpClient
from connectors.postgres.database import Database
from connectors.postgres.webhooks import deliveries
from connectors.secrets import SecretBox
from connectors.telemetry import Telemetry
from schemas.errors import MedialaneError
from schemas.metrics import WEBHOOK_DELIVERIES
from schemas.settings import SettingsError, WebhookSettings, variable
from streams.webhooks.batches import Batches
from streams.webhooks.due import DueLoop
from streams.webhooks.message import IncomingEvent
from streams.webhooks.planner import Planner
from streams.webhooks.schedule import Schedule
from streams.webhooks.sender import Sender
from streams.webhooks.settling import Settling
from streams.webhooks.slots import Slots

log = structlog.get_logger(__name__)

# Before the first one after a pause: a job's end sends several events, and what is planned alone delays the others.
_GATHER_S = 0.001
# Between two transactions: events that come faster than this are planned together.
_SPACING_S = 0.005
_LAST_WORDS_S = 5.0  # for each step that only waits for the database; what it does not get done comes again


class _Offered(NamedTuple):
    event: IncomingEvent
    durable: Callable[[], None]
    broken: Callable[[Exception], None]


class WebhookAgent:
    """Delivers events to the endpoints of their tenants.

    `offer` takes an event and calls back once its deliveries are committed (or nobody wants it); sending goes on
    afterwards, under leases. Any number of agents may share a database; `owner` names this one in its leases. Make it
    in the loop that runs it. Raises `SettingsError` on settings that do not fit together.
    """

    def __init__(self, database: Database, settings: WebhookSettings, telemetry: Telemetry, *, owner: str) -> None:
        box = _check(settings)
        metrics = telemetry.metrics
        slots = Slots(settings.in_flight, settings.in_flight_per_endpoint)
        self._database = database
        self._metrics = metrics
        self._http = HttpClient(
            timeout_s=settings.timeout_s, connections=settings.in_flight, allow_private=settings.allow_private
        )
        self._settling = Settling(database, metrics)
        self._sender = Sender(
            self._http, box, slots, self._settling, Schedule(settings.schedule_s),
            tracing=telemetry.tracing, metrics=metrics,
        )  # fmt: skip
        self._due = DueLoop(
            database, slots, self._sender, metrics,
            owner=owner, lease_s=settings.lease_s, interval_s=settings.poll_interval_s,
        )  # fmt: skip
        self._planner = Planner(database, slots, owner=owner, lease_s=settings.lease_s, busy=self._due.busy)
        self._offered: Batches[_Offered] = Batches(
            "events", self._plan, _hopeless, gather_s=_GATHER_S, spacing_s=_SPACING_S
        )
        self._stopping = False
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to take in events and to take up what is due."""
        for name, work in (("settling", self._settling.run), ("due", self._due.run), ("intake", self._offered.run)):
            self._tasks[name] = asyncio.create_task(work(), name=f"webhooks {name}")

    def offer(self, event: IncomingEvent, *, durable: Callable[[], None], broken: Callable[[Exception], None]) -> None:
        """Take an event in. One of the two is called, in the loop: `durable` once its outcome is committed, `broken`
        if it can never be (a defect). While the database is away neither is. Nothing is called after `stop`.
        """
        self._offered.put(_Offered(event, durable, broken))

    @property
    def backlog(self) -> int:
        """Events that were offered and whose outcome is not durable yet."""
        return len(self._offered)

    def problems(self) -> list[str]:
        """Why this agent does not work; empty while it does."""
        return [f"the webhook agent's {name} task has ended" for name, task in self._tasks.items() if task.done()]

    async def watch(self) -> None:
        """Return only when one of the agent's tasks has ended, which is a defect while nobody stops it."""
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        if self._stopping:
            await asyncio.Event().wait()  # the end is the caller's to say

    async def stop_intake(self) -> None:
        """Take in and take up nothing more; on return every outcome that will be known is known.

        Events that were offered and not planned yet are dropped: their offsets are not committed, they come again.
        """
        self._stopping = True
        self._offered.stop()
        self._due.stop()
        await _ended([self._tasks[name] for name in ("intake", "due") if name in self._tasks], within_s=_LAST_WORDS_S)

    async def stop(self, timeout_s: float) -> None:
        """Give requests in flight `timeout_s` to finish, and the deliveries of those that do not back to the table."""
        await self.stop_intake()
        cut_off = await self._sender.finish(timeout_s)
        with contextlib.suppress(TimeoutError, MedialaneError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._settling.flushed()
                if cut_off:
                    async with self._database.transaction() as connection:
                        await deliveries.release(connection, cut_off)
        await _ended(list(self._tasks.values()), within_s=0)
        self._tasks.clear()
        await self._http.close()
        log.info("webhook agent stopped", cut_off=len(cut_off), dropped=len(self._offered))

    async def _plan(self, batch: Sequence[_Offered]) -> int:
        plan = await self._planner.plan([offered.event for offered in batch])
        self._metrics.counter(WEBHOOK_DELIVERIES, "made").inc(plan.made)
        for delivery in plan.leased:
            self._sender.start(delivery)
        self._due.notice(plan.waiting)
        for offered in batch[: plan.events]:
            offered.durable()
        return plan.events


def _hopeless(offered: _Offered, error: Exception) -> None:
    log.error("an event cannot be delivered", event_id=str(offered.event.envelope.id), exc_info=error)
    offered.broken(error)


def _check(settings: WebhookSettings) -> SecretBox:
    problems: list[str] = []
    if settings.lease_s <= settings.timeout_s:
        problems.append(
            f"{variable(WebhookSettings, 'lease_s')}={settings.lease_s:g} must be more than "
            f"{variable(WebhookSettings, 'timeout_s')}={settings.timeout_s:g}: a lease has to outlive its request"
        )
    try:
        box = SecretBox.of(settings)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)
    return box


async def _ended(tasks: Sequence[asyncio.Task[None]], *, within_s: float) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=within_s)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
