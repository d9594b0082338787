"""What the due loop tells of what is overdue, without a database."""

from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from connectors.postgres.deliveries import DueEndpoint
from connectors.telemetry import Metrics
from schemas.metrics import WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE
from streams.webhooks.due import DueLoop
from streams.webhooks.slots import Slots

ENDPOINT = uuid4()


@pytest.fixture
def slots():
    return Slots(8, 2)


@pytest.fixture
def loop(slots):
    metrics = Metrics(CollectorRegistry(), process="webhooks")
    return DueLoop(None, slots, None, metrics, owner="agent", lease_s=10.0, interval_s=1.0)


def look(loop):
    """A look that finds a backlog of one endpoint; returns the ages of the oldest due and the oldest held back."""
    loop._show([DueEndpoint(endpoint_id=ENDPOINT, oldest_s=700.0)])
    loop.notice([ENDPOINT])
    return tuple(
        loop._metrics.gauge(spec)._value.get() for spec in (WEBHOOK_OLDEST_DUE_AGE, WEBHOOK_OLDEST_HELD_BACK_AGE)
    )


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_a_backlog_that_its_receiver_does_not_keep_up_with_is_told_apart_at_every_look(slots, loop, answers):
    assert look(loop) == (700.0, 0.0), "nothing is known of it yet"
    for _ in range(3):
        loop._take()
        for _ in range(answers):  # between the last round and the look
            slots.give_back(ENDPOINT, answered=True)
        assert look(loop) == (0.0, 700.0)


def test_a_backlog_that_is_not_taken_up_is_no_receivers_doing(loop):
    loop.notice([ENDPOINT])
    loop._take()
    assert look(loop) == (0.0, 700.0)
    assert look(loop) == (700.0, 0.0)


def test_a_backlog_in_a_process_that_is_full_is_no_receivers_doing(slots, loop):
    while slots.take(uuid4()):
        pass
    look(loop)
    loop._take()
    assert look(loop) == (700.0, 0.0)
