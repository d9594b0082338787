"""Addresses of variants as the API shows them, made of grants."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote
from uuid import UUID

from api.media.grants import Grant, GrantSigner, object_id
from api.own_address import MEDIA_PREFIX
from schemas.events import Variant


class Address(NamedTuple):
    """An address and its end."""

    url: str
    expires_at: datetime


class Place(NamedTuple):
    """Whose variants: `base` is the API's own address as the caller reaches it."""

    base: str
    tenant_id: UUID
    asset_id: UUID


class Addresses:
    """Makes addresses that live for `ttl_s` seconds, about."""

    def __init__(self, signer: GrantSigner, *, ttl_s: int, clock: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._ttl_s = ttl_s
        self._clock = clock

    def of_variant(self, place: Place, variant: Variant) -> Address:
        """The address of a variant's file, or of the one that names its others."""
        file = variant.object_key.rpartition("/")[2]
        return self._signed(place, variant.profile, file, object_id(variant.object_key), variant.duration_s)

    def of_picture(self, place: Place, name: str) -> Address:
        """The address of a picture in whichever format the reader takes."""
        return self._signed(place, name, name, None, None)

    def _signed(self, place: Place, name: str, file: str, of: bytes | None, duration_s: float | None) -> Address:
        ends_at = end_of(self._clock(), self._ttl_s, duration_s)
        grant = Grant(
            tenant_id=place.tenant_id, asset_id=place.asset_id, name=name, object_id=of, ends_at=ends_at
        )  # fmt: skip
        url = f"{place.base.rstrip('/')}{MEDIA_PREFIX}/{self._signer.seal(grant)}/{quote(file)}"
        return Address(url, datetime.fromtimestamp(ends_at, UTC))


def end_of(now: float, ttl_s: int, duration_s: float | None) -> int:
    """When an address ends that is made now, Unix seconds.

    It lives between three quarters of `ttl_s` and all of it: ends are rounded, so that whoever asks again soon gets the
    same address, which caches know. What plays may begin until then, and is not cut off in the middle.
    """
    step = max(1, ttl_s // 4)
    return int(now + ttl_s) // step * step + math.ceil(duration_s or 0)
