"""An endpoint that its tenant tries: from the API's call to the receiver."""

import pytest
from support.principals import principal

from api.webhooks.models import TestWanted as Wanted
from api.webhooks.service import WebhookService
from connectors.secrets import SecretBox

from .conftest import KEY

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def service(app):
    return WebhookService(app, SecretBox(KEY), allow_private=True)


async def test_a_test_is_sent_signed_like_any_delivery_and_says_what_it_is(world, receiver, service):
    endpoint = await world.endpoint(receiver.url(), events=["asset.ready"])
    who = principal(tenant_id=world.tenant_id)

    async def keep(_connection, _answer):
        """Nothing is repeated here."""

    async with world.running():
        made = await service.test(who, endpoint, Wanted(type="job.failed"), keep, traceparent=PARENT)
        await world.settled("delivered")
    (got,) = receiver.received
    got.verify(world.secret)
    assert (got.message_id, got.event_type, got.payload["test"]) == (str(made.data.event_id), "job.failed", True)
    assert got.trace_id == PARENT.split("-")[1]
    assert [row["id"] for row in await world.rows()] == [made.data.delivery_id]
