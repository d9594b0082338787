"""What Medialane asks of an object store. The contract suite in the tests holds every implementation to it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol
from uuid import UUID

import msgspec

SMALLEST_PART = 5 << 20
"""Bytes: what S3 asks of every part but the last."""

NO_HEADERS: Mapping[str, str] = MappingProxyType({})

LISTED_AT_ONCE = 1000
"""Parts, or objects: what S3 tells in one answer."""


class Presigned(msgspec.Struct, frozen=True, kw_only=True):
    """An address that carries its own permission; `headers` must be sent with it as they are."""

    url: str
    headers: dict[str, str]
    expires_at: datetime

    def left_s(self) -> int:
        """For how long it is good from now on, seconds."""
        return max(0, round((self.expires_at - datetime.now(UTC)).total_seconds()))


class PresignedForm(msgspec.Struct, frozen=True, kw_only=True):
    """An address for an HTML form: `fields` have to be sent before the file."""

    url: str
    fields: dict[str, str]
    expires_at: datetime


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a multipart upload that the store has: numbers from 1, size in bytes, entity tag without quotes."""

    number: int
    size: int
    etag: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An object as a listing shows it."""

    key: str
    size: int
    modified_at: datetime


class ObjectHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows about an object: size in bytes, entity tag without quotes, SHA-256 in hex if it kept one."""

    size: int
    etag: str
    content_type: str
    version_id: str | None = None
    checksum: str | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The object that stands under a key after `put_file`: ours (`created`), or one that was there before."""

    created: bool
    size: int
    sha256: str


class ObjectStore(Protocol):
    """One bucket.

    Every method that talks to the store raises `MedialaneError(object_store_unavailable)` when it does not answer or
    refuses our credentials; no exception of a client library comes through. Short calls, which is all but those that
    move files, also raise it when no place gets free for them in time.
    """

    def of(self, tenant_id: UUID) -> "ObjectStore":
        """The same for what a tenant asks for, all of which together takes half of the places at most.

        It is closed with what it was got from.
        """

    @property
    def upload_ttl_s(self) -> int:
        """Life of the addresses that uploads go to, seconds."""

    def presign_put(self, key: str, content_type: str, size: int, *, sha256_hex: str | None = None) -> Presigned:
        """Sign one PUT of exactly `size` bytes of `content_type`; a client sets the type, its library the length.

        With `sha256_hex` the store takes no other bytes; the client then sends the checksum's header, too.
        """

    def presign_post(self, key: str, content_type: str, size: int, *, sha256_hex: str | None = None) -> PresignedForm:
        """The same as a form that a browser posts."""

    def presign_part(self, key: str, upload_id: str, number: int) -> Presigned:
        """Sign the PUT of one part of a multipart upload; its size is seen only when the parts are listed."""

    def presign_get(
        self,
        key: str,
        ends_at: datetime,
        *,
        method: Literal["GET", "HEAD"] = "GET",
        version_id: str | None = None,
        answer: Mapping[str, str] = NO_HEADERS,
    ) -> Presigned:
        """Sign reading an object, or a version of it, until then, or as long as the store allows.

        A signature is for one method. `answer` are headers that the store is to answer with, `Cache-Control`,
        `Content-Disposition` and `Expires` among them. For a quarter of an hour the same call makes the same address,
        whoever makes it: caches know it again.
        """

    def public_url(self, key: str) -> str:
        """The object's address without a signature."""

    async def head(self, key: str, *, version_id: str | None = None, patient: bool = False) -> ObjectHead | None:
        """What is stored under a key, or as a version of it; None if nothing is. `patient` as of `check`."""

    async def peek(self, key: str, count: int, *, patient: bool = False) -> tuple[ObjectHead, bytes] | None:
        """The same with the first `count` bytes, in one request; it tells no checksum. `patient`: as in `check`."""

    async def create_multipart(self, key: str, content_type: str) -> str:
        """Begin an upload in parts; returns the store's id of it."""

    async def list_parts(self, key: str, upload_id: str) -> tuple[Part, ...] | None:
        """The parts that are there, by number; None if there is no such upload (any more)."""

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        """Make the object of these parts; False if there is no such upload (any more). Repeated, it may say either.

        Raises `MedialaneError(part_invalid)` for parts that are not there or are too small.
        """

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts; nothing happens if there is none."""

    async def list_page(self, prefix: str, after: str | None = None) -> tuple[Listed, ...]:
        """Up to a thousand objects under a prefix, by key, from after a key."""

    async def download(
        self, key: str, path: Path, *, if_match: str | None = None, version_id: str | None = None
    ) -> str:
        """Write an object, or a version of it, to a new or emptied file; returns its SHA-256 in hex.

        A version that the bucket does not have is the present one if its entity tag is `if_match`.

        Raises `MedialaneError`: source_missing, source_changed (the entity tag is not `if_match`), no_temp_space.
        """

    async def put_file(
        self, key: str, path: Path, content_type: str, sha256_hex: str, *, cache_control: str | None = None
    ) -> Stored:
        """Store a file unless something stands under the key already; that is then left as it is, and described.

        `cache_control` is what the store answers with, where an address does not say otherwise.

        Two renderings of the same source may differ in their bytes: a caller records what the answer says.
        """

    async def delete(self, key: str) -> None:
        """Remove an object; nothing happens if there is none."""

    async def check(self, *, patient: bool = False) -> None:
        """Return if the bucket can be reached; `patient` waits for a free place as long as transfers of files do."""


async def pages(store: ObjectStore, prefix: str, after: str | None = None) -> AsyncIterator[tuple[Listed, ...]]:
    """All objects under a prefix whose keys come after one."""
    while page := await store.list_page(prefix, after):
        yield page
        after = page[-1].key
