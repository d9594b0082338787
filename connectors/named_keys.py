"""Keys of the settings: 32 bytes in base64, each known by a short id that is drawn from it and tells nothing of it.

A present key makes what is new, old ones are still taken: so each of them may be changed without a pause.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence

from schemas.settings import Settings, SettingsError, variable

ID_BYTES = 4
_KEY_BYTES = 32
_HOW = "make one with `openssl rand -base64 32`"


def decoded(key_b64: str) -> bytes:
    """A key's bytes; raises `ValueError` for what is none."""
    try:
        key = base64.b64decode(key_b64, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the key is not base64: {_HOW}") from error
    if len(key) != _KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes instead of {_KEY_BYTES}: {_HOW}")
    return key


def id_of(key: bytes) -> bytes:
    """What a key is called."""
    return hashlib.sha256(b"medialane key id" + key).digest()[:ID_BYTES]


def check_settings(group: type[Settings], keys: dict[str, Sequence[str]]) -> None:
    """Raise `SettingsError` for every key, by the name of its field, that is none."""
    problems = []
    for name, texts in keys.items():
        for text in texts:
            try:
                decoded(text)
            except ValueError as error:
                problems.append(f"{variable(group, name)} is not valid: {error}")
    if problems:
        raise SettingsError(problems)
