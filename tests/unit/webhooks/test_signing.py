"""Signatures, judged by the library that receivers use."""

import hashlib
import hmac
import time
from uuid import uuid4

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from streams.webhooks.signing import signed_headers

SECRET, BODY = b"a plain text secret", '{"type":"asset.ready","name":"snow \N{SNOWMAN}"}'.encode()


def test_receivers_accept_it():
    event_id = uuid4()
    headers = signed_headers(SECRET, event_id=event_id, timestamp=int(time.time()), body=BODY)
    assert Webhook(SECRET).verify(BODY, headers)["type"] == "asset.ready"
    assert headers["webhook-id"] == str(event_id)


def test_the_plain_signature_is_over_the_body_alone():
    headers = signed_headers(SECRET, event_id=uuid4(), timestamp=1, body=BODY)
    assert headers["X-Webhook-Signature"] == "sha256=" + hmac.new(SECRET, BODY, hashlib.sha256).hexdigest()


def test_in_an_overlap_receivers_accept_it_by_either_secret_and_the_new_one_comes_first():
    said = {"event_id": uuid4(), "timestamp": int(time.time()), "body": BODY}
    both, new = signed_headers(b"the new one", old=SECRET, **said), signed_headers(b"the new one", **said)
    for secret in (b"the new one", SECRET):
        assert Webhook(secret).verify(BODY, both)["type"] == "asset.ready"
    assert both["webhook-signature"].split(" ")[0] == new["webhook-signature"]
    assert both["X-Webhook-Signature"] == new["X-Webhook-Signature"], "of which there is room for one"


@pytest.mark.parametrize(
    "change",
    [
        lambda headers, body: (headers, body + b" "),
        lambda headers, body: (headers | {"webhook-id": str(uuid4())}, body),
        lambda headers, body: (headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 1)}, body),
    ],
)
def test_whatever_is_changed_breaks_it(change):
    headers = signed_headers(SECRET, event_id=uuid4(), timestamp=int(time.time()), body=BODY)
    changed, body = change(headers, BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, changed)


def test_another_secret_and_an_old_attempt_are_refused():
    fresh = signed_headers(SECRET, event_id=uuid4(), timestamp=int(time.time()), body=BODY)
    with pytest.raises(WebhookVerificationError, match="No matching"):
        Webhook(b"another").verify(BODY, fresh)
    old = signed_headers(SECRET, event_id=uuid4(), timestamp=int(time.time()) - 600, body=BODY)
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(BODY, old)
