"""What a signed address, or a key's owner, gets to read: a file of one variant, or a picture in the best format."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal, NamedTuple
from uuid import UUID

from api.attachments import attachment, named_after
from api.media.formats import choose, names_of, picture_of
from api.media.grants import Grant, GrantSigner, object_id
from connectors.objectstore.port import NO_HEADERS, ObjectStore, Presigned
from connectors.postgres.assets import variants
from connectors.postgres.assets.originals import find_original
from connectors.postgres.assets.variants import NewVariant
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError

_NAMES_OTHERS = frozenset({"application/vnd.apple.mpegurl", "text/vtt"})
_LARGEST_TEXT = 4 * 1024 * 1024  # of a film of days it would be less; each is held in memory while it is answered


class File(NamedTuple):
    """An object of a variant; `size` in bytes, `sha256` in hex."""

    key: str
    content_type: str
    size: int
    sha256: str

    @property
    def names_others(self) -> bool:
        """Whether it is a small text whose relative references have to be resolved against our own address."""
        return self.content_type in _NAMES_OTHERS and self.size <= _LARGEST_TEXT


class Found(NamedTuple):
    """What an address stands for; for `left_s` more seconds, until `ends_at`. `chosen`: by the Accept header, among
    others. `headers` are what belongs on the answer that has the bytes.
    """

    tenant_id: UUID
    file: File
    left_s: int
    ends_at: datetime
    chosen: bool
    headers: Mapping[str, str]


class MediaReader:
    """Finds files, and has them sent by the object store wherever that is possible."""

    def __init__(self, database: Database, store: ObjectStore, signer: GrantSigner) -> None:
        self._database = database
        self._store = store
        self._signer = signer

    async def find(self, token: str, name: str, accept: str, *, download: bool = False) -> Found:
        """The file of this name that the token grants; `download`: as one to be saved.

        Raises `MedialaneError`: address_invalid, address_expired; not_found for a deleted asset, a name that the
        variant does not have, and bytes that a replay replaced; not_acceptable.
        """
        now = time.time()
        grant = self._signer.open(token, now=now)
        file = await self._file(grant, name, accept)
        headers = await self._disposition(grant, file) if download else NO_HEADERS
        return Found(
            grant.tenant_id, file, max(1, int(grant.ends_at - now)), datetime.fromtimestamp(grant.ends_at, UTC),
            chosen=grant.object_id is None, headers=headers,
        )  # fmt: skip

    async def _file(self, grant: Grant, name: str, accept: str) -> File:
        if grant.object_id is None:
            found = await self._readable(grant.tenant_id, grant.asset_id, names_of(grant.name))
            best = _best(found, grant.name, accept)
            if best is None or name != grant.name:
                raise MedialaneError(ErrorCode.NOT_FOUND)
            return _files(best)[0]
        for variant in await self._readable(grant.tenant_id, grant.asset_id, (grant.name,)):
            for file in _files(variant) if object_id(variant.object_key) == grant.object_id else ():
                if file.key.rpartition("/")[2] == name:
                    return file
        raise MedialaneError(ErrorCode.NOT_FOUND)

    async def choose(self, tenant_id: UUID, asset_id: UUID, name: str, accept: str) -> NewVariant:
        """The variant of this profile, or of this picture in the best format that `accept` allows.

        Raises `MedialaneError`: not_found, not_acceptable.
        """
        found = await self._readable(tenant_id, asset_id, names_of(name))
        best = _best(found, name, accept) or next((each for each in found if each.profile == name), None)
        if best is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return best

    def elsewhere(self, found: Found, method: Literal["GET", "HEAD"]) -> Presigned:
        """Where the object store itself sends the file, as long as it is granted, which caches are told there, too."""
        caching = {"Cache-Control": "public, immutable", "Expires": format_datetime(found.ends_at, usegmt=True)}
        return self._store.presign_get(
            found.file.key, found.ends_at, method=method, answer={**caching, **found.headers}
        )

    async def content(self, found: Found) -> bytes:
        """A small file's bytes. Raises `MedialaneError`: not_found, object_store_unavailable."""
        stored = await self._store.of(found.tenant_id).peek(found.file.key, found.file.size)
        if stored is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return stored[1]

    async def _disposition(self, grant: Grant, file: File) -> Mapping[str, str]:
        async with self._database.tenant(grant.tenant_id) as connection:
            original = await find_original(connection, grant.tenant_id, grant.asset_id)
        if original is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return {"Content-Disposition": attachment(named_after(original.file_name, file.key))}

    async def _readable(self, tenant_id: UUID, asset_id: UUID, profiles: Sequence[str]) -> tuple[NewVariant, ...]:
        async with self._database.tenant(tenant_id) as connection:
            return await variants.readable(connection, tenant_id, asset_id, profiles)


def _best(found: Sequence[NewVariant], picture: str, accept: str) -> NewVariant | None:
    """The picture in the best format; None if there is no such picture."""
    formats = {each.content_type: each for each in found if picture_of(each.public()) == picture}
    if not formats:
        return None
    best = choose(accept, tuple(formats))
    if best is None:
        raise MedialaneError(ErrorCode.NOT_ACCEPTABLE, f"The picture is there as {', '.join(sorted(formats))}.")
    return formats[best]


def _files(variant: NewVariant) -> tuple[File, ...]:
    """Every file of a variant, its own first."""
    own, *others = variant.object_keys()
    parts = (
        File(key, part.content_type, part.size, part.sha256) for key, part in zip(others, variant.parts, strict=True)
    )
    return File(own, variant.content_type, variant.size, variant.sha256.hex()), *parts
