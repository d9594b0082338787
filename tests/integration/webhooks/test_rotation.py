"""Secrets that follow others, as the receivers meet them."""

import base64

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cli.harness.receiver import VerificationError
from connectors.postgres.webhooks.endpoint_secrets import rotate_secret
from connectors.secrets import SecretBox

from .conftest import KEY, SECRET

NEW = b"the secret that follows"
NEW_WHSEC = "whsec_" + base64.b64encode(NEW).decode()


async def test_deliveries_are_signed_with_both_secrets_until_the_overlap_ends(world, receiver):
    endpoint = await world.endpoint(receiver.url())
    receiver.fail_next(1)
    async with world.database.transaction() as connection:
        sealed = SecretBox(KEY).seal(NEW)
        rotated = await rotate_secret(connection, world.tenant_id, endpoint, sealed_secret=sealed, overlap_s=3600)
    assert rotated.old_secret_until is not None
    async with world.running() as agent:
        await world.offer(agent, world.event())
        await world.settled("delivered")
        for got in receiver.received:  # as it was planned, and as it was leased again
            got.verify(NEW_WHSEC)
            Webhook(SECRET).verify(got.body.decode(), got.headers)
            with pytest.raises(VerificationError, match="X-Webhook-Signature"):
                got.verify(world.secret)
        receiver.received.clear()
        await world.execute("UPDATE webhook_endpoints SET secret_old_until = now() WHERE id = %s", endpoint)
        receiver.fail_next(1)
        await world.offer(agent, world.event())
        await world.settled("delivered", "delivered")
    assert len(receiver.received) == 2
    for got in receiver.received:
        got.verify(NEW_WHSEC)
        with pytest.raises(WebhookVerificationError, match="No matching"):
            Webhook(SECRET).verify(got.body.decode(), got.headers)
