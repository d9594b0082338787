"""The receiver: what it keeps, that its verification can say no, and that it misbehaves only when told."""

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime

import aiohttp
import pytest
from standardwebhooks.webhooks import Webhook

from cli.harness.receiver import Receiver, VerificationError

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
BODY = b'{"type":"asset.ready","asset_id":"a1","data":{}}'


def signed(body=BODY, key=KEY):
    now = datetime.now(tz=UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(base64.b64encode(key).decode()).sign("msg_1", now, body.decode()),
        "X-Webhook-Signature": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


async def post(url, body=BODY, headers=None):
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers or signed()) as answer:
        return answer.status


async def test_a_request_is_kept_as_it_came_and_verifies():
    async with Receiver() as receiver:
        assert await post(receiver.url("mine")) == 200
        [one] = receiver.received
    assert (one.path, one.body, one.event_type, one.asset_id) == ("mine", BODY, "asset.ready", "a1")
    assert one.message_id == "msg_1"
    assert one.trace_id == "0af7651916cd43dd8448eb211c80319c"
    one.verify(SECRET)


@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"webhook-signature": signed(key=b"x" * 32)["webhook-signature"]}, "webhook-signature"),
        ({"webhook-timestamp": "1600000000"}, "webhook-signature"),
        ({"X-Webhook-Signature": "sha256=00"}, "X-Webhook-Signature"),
    ],
)
async def test_verification_says_no_and_which(change, blamed):
    async with Receiver() as receiver:
        await post(receiver.url(), headers=signed() | change)
        with pytest.raises(VerificationError, match=blamed):
            receiver.received[0].verify(SECRET)


async def test_failures_come_as_many_as_told():
    async with Receiver() as receiver:
        receiver.fail_next(2, status=503)
        assert [await post(receiver.url()) for _ in range(3)] == [503, 503, 200]
        assert [one.plan for one in receiver.received] == ["503", "503", "200"]


async def test_a_hanging_request_waits_for_release_and_holds_nobody_else():
    async with Receiver() as receiver:
        receiver.hang_next(1)
        hung = asyncio.create_task(post(receiver.url()))
        await receiver.wait_for(lambda got: len(got) == 1, 60)
        assert await post(receiver.url()) == 200
        assert not hung.done()
        receiver.release()
        assert await hung == 200


async def test_waiting_for_what_never_comes_ends():
    async with Receiver() as receiver:
        with pytest.raises(TimeoutError):
            await receiver.wait_for(bool, 0.01)
