"""Secrets at rest: the API seals an endpoint's secret before it is stored, the webhook agent opens it to sign."""

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"  # first byte of every sealed text, so that another cipher or key may follow
_NONCE_BYTES = 12


class SecretUnreadableError(Exception):
    """A sealed text was changed, or sealed under another key (MEDIALANE_WEBHOOK_ENCRYPTION_KEY)."""


class SecretBox:
    """Seals and opens short texts with AES-256-GCM under one key."""

    def __init__(self, key_b64: str) -> None:
        """`key_b64`: 32 bytes in base64; raises `ValueError` for anything else."""
        try:
            key = base64.b64decode(key_b64, validate=True)
        except binascii.Error as error:
            raise ValueError("the encryption key is not base64: make one with `openssl rand -base64 32`") from error
        if len(key) != 32:
            raise ValueError(
                f"the encryption key has {len(key)} bytes instead of 32: make one with `openssl rand -base64 32`"
            )
        self._cipher = AESGCM(key)

    def seal(self, secret: bytes) -> bytes:
        """Encrypt: a version byte, a random nonce, the text and its tag; never twice the same."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret, _VERSION)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` made; raises `SecretUnreadableError`."""
        if sealed[:1] != _VERSION:
            raise SecretUnreadableError("this is no sealed secret of a known version")
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, _VERSION)
        except (InvalidTag, ValueError) as error:
            raise SecretUnreadableError("the secret was changed or sealed under another key") from error
