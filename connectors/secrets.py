"""Secrets at rest: the API seals an endpoint's secret before it is stored, the webhook agent opens it to sign."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors.named_keys import ID_BYTES, check_settings, decoded, id_of
from schemas.settings import WebhookSettings

_UNNAMED, _NAMED = b"\x01", b"\x02"
"""First byte of every sealed text: what follows it is the nonce, or the id of the key and then the nonce."""

HEAD_BYTES = 1 + ID_BYTES
"""So much of a sealed text says which key it was sealed under."""

_NONCE_BYTES = 12


class SecretUnreadableError(Exception):
    """A sealed text was changed, or sealed under none of the keys (MEDIALANE_WEBHOOK_ENCRYPTION_KEY, ..._OLD)."""


class SecretBox:
    """Seals short texts with AES-256-GCM under the present key; opens those of the present and of old keys."""

    def __init__(self, key_b64: str, old_b64: Sequence[str] = ()) -> None:
        """Keys: 32 bytes in base64; raises `ValueError` for anything else."""
        key = decoded(key_b64)
        self._cipher = AESGCM(key)
        self._id = id_of(key)
        self._ciphers = {id_of(old): AESGCM(old) for old in map(decoded, old_b64)} | {self._id: self._cipher}

    @classmethod
    def of(cls, settings: WebhookSettings) -> Self:
        """Under the keys of the settings. Raises `SettingsError`."""
        check_settings(
            WebhookSettings,
            {"encryption_key": (settings.encryption_key,), "encryption_key_old": settings.encryption_key_old},
        )
        return cls(settings.encryption_key, settings.encryption_key_old)

    @property
    def key_id(self) -> str:
        """What the present key is called: eight hexadecimal digits that tell nothing of it."""
        return self._id.hex()

    @property
    def head(self) -> bytes:
        """How everything begins that is sealed under the present key."""
        return _NAMED + self._id

    def missing(self, heads: Iterable[bytes]) -> list[str]:
        """The ids of keys that texts which begin so were sealed under, and that are none of these."""
        named = {head[1:HEAD_BYTES] for head in heads if head[:1] == _NAMED}
        return sorted(key_id.hex() for key_id in named - self._ciphers.keys())

    def seal(self, secret: bytes) -> bytes:
        """Encrypt: the head, a random nonce, the text and its tag; never twice the same."""
        nonce = os.urandom(_NONCE_BYTES)
        return self.head + nonce + self._cipher.encrypt(nonce, secret, self.head)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what `seal` made, under whichever key; raises `SecretUnreadableError`."""
        for cipher, head in self._candidates(sealed):
            nonce, text = sealed[len(head) : len(head) + _NONCE_BYTES], sealed[len(head) + _NONCE_BYTES :]
            try:
                return cipher.decrypt(nonce, text, head)
            except (InvalidTag, ValueError):
                continue
        raise SecretUnreadableError("the secret was changed or sealed under another key")

    def again(self, sealed: bytes) -> bytes:
        """Seal under the present key what any of them opens; raises `SecretUnreadableError`."""
        return self.seal(self.open(sealed))

    def _candidates(self, sealed: bytes) -> Iterator[tuple[AESGCM, bytes]]:
        version, named = sealed[:1], sealed[1 : 1 + ID_BYTES]
        if version == _NAMED and named in self._ciphers:
            yield self._ciphers[named], _NAMED + named
        elif version == _UNNAMED:
            # Of releases before keys had ids: any of them may be the one.
            yield from ((cipher, _UNNAMED) for cipher in self._ciphers.values())
        elif version != _NAMED:
            raise SecretUnreadableError("this is no sealed secret of a known version")
