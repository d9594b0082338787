"""The key that an endpoint's deliveries are signed with: made by us, or given by the client in one of two spellings."""

import base64
import binascii
import secrets

PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)  # what Standard Webhooks allows


def signing_key(given: str | None) -> bytes:
    """The key's bytes.

    Nothing given: 32 random bytes. `whsec_` and base64 of 24 to 64 bytes: those bytes. Any other text: its UTF-8
    bytes, as the reference system's receivers use it.
    """
    if given is None:
        return secrets.token_bytes(32)
    if given.startswith(PREFIX):
        try:
            decoded = base64.b64decode(given.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            return given.encode()
        if len(decoded) in _KEY_BYTES:
            return decoded
    return given.encode()


def shown(key: bytes) -> str:
    """A key as `whsec_...`."""
    return PREFIX + base64.b64encode(key).decode()
