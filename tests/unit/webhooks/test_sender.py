"""Attempts without a database: what is measured of them, and what they say of the receiver."""

import asyncio
import base64
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from connectors.http.client import Answer, Outcome
from connectors.postgres.webhooks.deliveries import LeasedDelivery
from connectors.secrets import SecretBox
from connectors.telemetry import Metrics, Tracing
from schemas.metrics import WEBHOOK_ATTEMPTS, WEBHOOK_FIRST_ATTEMPT_AGE, WEBHOOK_IN_FLIGHT
from streams.webhooks.schedule import Schedule
from streams.webhooks.sender import Sender
from streams.webhooks.slots import Slots

ENDPOINT, TENANT = uuid4(), uuid4()
BOX = SecretBox(base64.b64encode(b"k" * 32).decode())
OTHER_BOX = SecretBox(base64.b64encode(b"o" * 32).decode())


class Receiver:
    """Stands for the HTTP client: the same outcome for everything."""

    def __init__(self):
        self.outcome, self.elapsed_s, self.lingering = Outcome.ANSWERED, 0.0, None

    async def post(self, url, *, body, headers):
        return Answer(
            outcome=self.outcome,
            status=200 if self.outcome is Outcome.ANSWERED else None,
            elapsed_s=self.elapsed_s,
            lingering=self.lingering,
        )


class Results(list):
    """Stands for `Settling`."""

    put = list.append


class Bed:
    def __init__(self, total=64, per_endpoint=16):
        self.slots, self.receiver, self.results = Slots(total, per_endpoint), Receiver(), Results()
        self.metrics = Metrics(CollectorRegistry(), process="webhooks")
        self.sender = Sender(
            self.receiver, BOX, self.slots, self.results, Schedule((10.0,)),
            tracing=Tracing("webhooks"), metrics=self.metrics,
        )  # fmt: skip

    async def send(self, count, secret=b"secret", box=BOX, old=None):
        """Take the slots of all, as planner and due loop do, and only then begin; returns when all have ended."""
        assert all(self.slots.take(ENDPOINT, TENANT) for _ in range(count))
        for _ in range(count):
            self.sender.start(
                LeasedDelivery(
                    id=uuid4(), endpoint_id=ENDPOINT, url="http://127.0.0.1/", secret=box.seal(secret), secret_old=old,
                    event_id=uuid4(), event_type="asset.ready", traceparent=None, epoch=1, attempt=1,
                    payload=f'{{"timestamp": "{datetime.now(UTC).isoformat()}"}}',
                )
            )  # fmt: skip
        assert not await self.sender.finish(30)

    @property
    def ages(self):
        """How many first attempts were measured."""
        return sum(bucket.get() for bucket in self.metrics.histogram(WEBHOOK_FIRST_ATTEMPT_AGE)._buckets)


@pytest.mark.parametrize("per_endpoint", [1, 16])
async def test_first_attempts_count_too_that_take_all_the_slots_of_their_endpoint(per_endpoint):
    bed = Bed(per_endpoint=per_endpoint)
    for _ in range(3):
        await bed.send(per_endpoint)
    assert len(bed.results) == bed.ages == 3 * per_endpoint


async def test_first_attempts_do_not_count_once_the_receiver_is_silent_until_it_answers_again():
    bed = Bed()
    bed.receiver.outcome = Outcome.TIMEOUT
    await bed.send(2)
    await bed.send(1)
    assert bed.ages == 2
    bed.receiver.outcome = Outcome.ANSWERED
    await bed.send(1)
    await bed.send(1)
    assert (len(bed.results), bed.ages) == (5, 3)


async def test_what_was_not_sent_says_nothing_of_the_receiver():
    bed = Bed()
    bed.receiver.outcome = Outcome.UNSENT
    await bed.send(1)
    assert not bed.slots.is_sick(ENDPOINT)


async def test_a_secret_that_cannot_be_opened_says_nothing_of_the_receiver():
    bed = Bed()
    await bed.send(16, box=OTHER_BOX)
    await bed.send(16, old=OTHER_BOX.seal(b"old"))
    assert {(found.settlement.outcome, found.settlement.sent) for found in bed.results} == {("unreadable", False)}
    assert bed.metrics.counter(WEBHOOK_ATTEMPTS, "unreadable", "none")._value.get() == 32
    assert bed.ages == 0, "nothing was begun"
    bed.receiver.outcome = Outcome.TIMEOUT
    await bed.send(1)
    assert bed.ages == 1, "its receiver is not to blame"
    await bed.send(1, box=OTHER_BOX)
    assert bed.slots.is_sick(ENDPOINT), "nor that it is well again"


async def test_an_answer_that_comes_late_delivers_and_counts_as_none_for_slots():
    bed = Bed()
    bed.receiver.elapsed_s = 14.9
    await bed.send(1)
    assert bed.slots.is_sick(ENDPOINT)
    assert [found.settlement.outcome for found in bed.results] == ["delivered"]
    bed.receiver.elapsed_s = 0.2
    await bed.send(1)
    assert not bed.slots.is_sick(ENDPOINT)


async def test_a_slot_comes_back_with_what_is_left_of_its_attempt_and_the_result_at_once():
    bed = Bed()
    bed.receiver.outcome, bed.receiver.lingering = Outcome.TIMEOUT, asyncio.get_running_loop().create_future()
    await bed.send(1)
    assert (len(bed.results), bed.slots.in_flight, bed.slots.is_sick(ENDPOINT)) == (1, 1, True)
    assert bed.metrics.gauge(WEBHOOK_IN_FLIGHT)._value.get() == 1
    bed.receiver.lingering.set_result(None)
    await asyncio.sleep(0)
    assert bed.slots.in_flight == bed.metrics.gauge(WEBHOOK_IN_FLIGHT)._value.get() == 0
