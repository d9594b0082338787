"""Signatures: Standard Webhooks (v1, HMAC-SHA256 over id, timestamp and body) and the plain HMAC of the body."""

import base64
import hmac
from uuid import UUID


def signed_headers(
    secret: bytes, *, old: bytes | None = None, event_id: UUID, timestamp: int, body: bytes
) -> dict[str, str]:
    """The headers that let a receiver check who sent `body`, and when.

    `secret` is the key's raw bytes (what `whsec_` shows in base64); `old` is the key before it, for receivers that know
    only that yet: a second signature, where there may be several. `timestamp` is this attempt's, Unix seconds: a
    receiver refuses old ones, so each attempt has its own.
    """
    signed = b"%b.%d.%b" % (str(event_id).encode(), timestamp, body)
    signatures = [_v1(key, signed) for key in (secret, old) if key is not None]
    return {
        "webhook-id": str(event_id),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
        "X-Webhook-Signature": f"sha256={hmac.digest(secret, body, 'sha256').hex()}",
    }


def _v1(key: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
