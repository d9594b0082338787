"""Grants: what a signed address lets its holder read, and until when, as a token that stands in the address's path.

    token = signer.seal(Grant(...))
    grant = signer.open(token, now=time.time())    # MedialaneError(address_invalid, address_expired)

In the path, and not in a query: what a playlist names relatively keeps the path up to the last slash, and loses the
query.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Self
from uuid import UUID

import msgspec

from connectors.named_keys import ID_BYTES, check_settings, decoded, id_of
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import MediaSettings

_VERSION = 1
_HEAD = struct.Struct(f">B{ID_BYTES}s16s16s8sI")  # version, key, tenant, asset, object, end; then the name
_ANY_OBJECT = bytes(8)
_TAG_BYTES = 16  # of HMAC-SHA256's 32, as RFC 2104 permits: 128 bits
_PURPOSE = b"medialane signed address\0"
_LONGEST = 512


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Permission to read one variant, or one picture in whichever format, of an asset.

    `name` is the profile, or what the picture is called without its format. `object_id` says which bytes (`object_id`
    of the object's key); None: whatever is there. `ends_at` is Unix seconds.
    """

    tenant_id: UUID
    asset_id: UUID
    name: str
    object_id: bytes | None
    ends_at: int


def object_id(object_key: str) -> bytes:
    """What names an object's bytes in a grant: objects are never written twice, so that its key does."""
    return hashlib.sha256(object_key.encode()).digest()[: len(_ANY_OBJECT)]


class GrantSigner:
    """Signs with the present key; takes the signatures of the present and of old keys."""

    def __init__(self, key_b64: str, old_b64: Sequence[str] = ()) -> None:
        """Keys: 32 bytes in base64; raises `ValueError` for anything else."""
        key = decoded(key_b64)
        self._id = id_of(key)
        self._keys = {id_of(old): old for old in map(decoded, old_b64)} | {self._id: key}

    @classmethod
    def of(cls, settings: MediaSettings) -> Self:
        """With the keys of the settings. Raises `SettingsError`."""
        check_settings(
            MediaSettings, {"signing_key": (settings.signing_key,), "signing_key_old": settings.signing_key_old}
        )
        return cls(settings.signing_key, settings.signing_key_old)

    def seal(self, grant: Grant) -> str:
        """The token of a grant: letters, digits, `-` and `_`; always the same for the same grant and key."""
        head = _HEAD.pack(
            _VERSION, self._id, grant.tenant_id.bytes, grant.asset_id.bytes, grant.object_id or _ANY_OBJECT,
            grant.ends_at,
        )  # fmt: skip
        text = head + grant.name.encode()
        return _encoded(text + _tag(self._keys[self._id], text))

    def open(self, token: str, *, now: float) -> Grant:
        """What a token grants at a moment, Unix seconds.

        Raises `MedialaneError`: address_invalid for what was not signed with one of the keys, address_expired.
        """
        raw = _decoded(token)
        text, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
        key = self._keys.get(text[1 : 1 + ID_BYTES])
        if key is None or len(text) < _HEAD.size or not hmac.compare_digest(_tag(key, text), tag):
            raise MedialaneError(ErrorCode.ADDRESS_INVALID)
        version, _, tenant, asset, of, ends_at = _HEAD.unpack_from(text)
        if version != _VERSION:
            raise MedialaneError(ErrorCode.ADDRESS_INVALID)
        if ends_at <= now:
            raise MedialaneError(ErrorCode.ADDRESS_EXPIRED)
        return Grant(
            tenant_id=UUID(bytes=tenant), asset_id=UUID(bytes=asset), name=text[_HEAD.size :].decode(),
            object_id=None if of == _ANY_OBJECT else of, ends_at=ends_at,
        )  # fmt: skip


def _tag(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + text, "sha256")[:_TAG_BYTES]


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    """Strictly: base64 has several spellings of most bytes, and one grant is to have one address."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise MedialaneError(ErrorCode.ADDRESS_INVALID) from error
    if len(token) > _LONGEST or _encoded(raw) != token:
        raise MedialaneError(ErrorCode.ADDRESS_INVALID)
    return raw
