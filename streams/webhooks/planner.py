"""From events to delivery rows: many events in one transaction, each delivery once per event and endpoint.

A delivery for which there is a slot is inserted already leased to this agent, and its first attempt starts on commit;
any other is inserted as due now, so that it takes no slot and no memory while its endpoint is slow.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from connectors.postgres.database import Database
from connectors.postgres.webhooks import deliveries
from connectors.postgres.webhooks.deliveries import LeasedDelivery, NewDelivery, Subscriber
from schemas.ids import uuid7
from streams.webhooks.message import IncomingEvent, body_of
from streams.webhooks.slots import Slots

EVERY_TYPE = "*"
# In one transaction, which so stays far from the statement timeout: a tenant with fifty endpoints makes as many of a
# hundred events.
_MAX_ROWS = 5000


class Plan(NamedTuple):
    """What came of a batch: how many events of it are planned, deliveries to send now, endpoints that have more
    waiting with the tenant of each, how many were made.
    """

    events: int
    leased: list[LeasedDelivery]
    waiting: dict[UUID, UUID]
    made: int


class Planner:
    """Turns batches of events into deliveries. `busy` tells whether older deliveries wait for an endpoint."""

    def __init__(
        self, database: Database, slots: Slots, *, owner: str, lease_s: float, busy: Callable[[UUID], bool]
    ) -> None:
        self._database = database
        self._slots = slots
        self._owner = owner
        self._lease_s = lease_s
        self._busy = busy

    async def plan(self, events: Sequence[IncomingEvent]) -> Plan:
        """Make the deliveries of the first of `events`, as many as fit in one transaction and at least one, committed
        on return; events may come again, their deliveries do not.

        Raises `MedialaneError(database_unavailable)`; then nothing is known to be made, and no slot is held.
        """
        made: list[tuple[NewDelivery, Subscriber]] = []
        planned = 0
        try:
            async with self._database.transaction() as connection:
                found = await deliveries.subscribers(connection, {event.envelope.tenant_id for event in events})
                for event in events:
                    wanted = [one for one in found.get(event.envelope.tenant_id, ()) if subscribes(one, event)]
                    if planned and len(made) + len(wanted) > _MAX_ROWS:
                        break
                    for pair in self._deliveries(event, wanted):
                        made.append(pair)  # noqa: PERF402 - one by one, so that a failure leaves no slot unaccounted for
                    planned += 1
                rows = [delivery for delivery, _ in made]
                fresh: set[UUID] = set()
                if rows:
                    fresh = await deliveries.insert(connection, rows, owner=self._owner, lease_s=self._lease_s)
        except BaseException:
            self._give_back(delivery for delivery, _ in made)
            raise
        self._give_back(delivery for delivery in rows if delivery.id not in fresh)
        return Plan(
            events=planned,
            leased=[_leased(delivery, to) for delivery, to in made if delivery.leased and delivery.id in fresh],
            waiting={
                delivery.endpoint_id: delivery.tenant_id
                for delivery in rows
                if not delivery.leased and delivery.id in fresh
            },
            made=len(fresh),
        )

    def _deliveries(
        self, event: IncomingEvent, wanted: Sequence[Subscriber]
    ) -> Iterable[tuple[NewDelivery, Subscriber]]:
        if not wanted:
            return
        envelope, payload = event.envelope, body_of(event).decode()
        for subscriber in wanted:
            # What waits already goes first: a new delivery must not overtake it for as long as it lasts.
            leased = not self._busy(subscriber.id) and self._slots.take(subscriber.id, subscriber.tenant_id)
            delivery = NewDelivery(
                id=uuid7(),
                tenant_id=envelope.tenant_id,
                endpoint_id=subscriber.id,
                event_id=envelope.id,
                event_type=envelope.type,
                asset_id=envelope.asset_id,
                seq=envelope.seq,
                payload=payload,
                traceparent=event.traceparent,
                leased=leased,
            )
            yield delivery, subscriber

    def _give_back(self, made: Iterable[NewDelivery]) -> None:
        for delivery in made:
            if delivery.leased:
                self._slots.give_back(delivery.endpoint_id)


def subscribes(subscriber: Subscriber, event: IncomingEvent) -> bool:
    """Whether the endpoint gets this event: its type is on the list, and it happened since it is registered and on."""
    wanted = EVERY_TYPE in subscriber.events or event.envelope.type in subscriber.events
    return wanted and event.envelope.time >= subscriber.since


def _leased(delivery: NewDelivery, to: Subscriber) -> LeasedDelivery:
    return LeasedDelivery(
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        url=to.url,
        secret=to.secret,
        secret_old=to.secret_old,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        payload=delivery.payload,
        traceparent=delivery.traceparent,
        epoch=1,
        attempt=1,
    )
