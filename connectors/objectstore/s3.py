"""The object store on S3: boto3, and for what is done with single objects all the time, plain signed requests.

boto3 spends more on making such a request than the rest of it takes. Questions about one object are asked in the event
loop; what blocks, files and boto3, runs in a thread of this store's own, bounded pool. Files are sent and fetched
patiently; all other calls are short, and fail soon.
"""

import base64
import copy
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, Self, TypeVar
from uuid import UUID

import urllib3
from botocore.exceptions import ClientError

from connectors.closing import Closing
from connectors.objectstore.asking import Answer, Asker
from connectors.objectstore.clients import Patience, boto_clients, boto_session, plain_client
from connectors.objectstore.failures import code_of, refused, status_of, translated
from connectors.objectstore.keys import KeyRing
from connectors.objectstore.multipart import Multipart
from connectors.objectstore.places import Places
from connectors.objectstore.port import NO_HEADERS, Listed, ObjectHead, Part, Presigned, PresignedForm, Stored
from connectors.objectstore.signing import QuerySigner, step_of
from connectors.objectstore.threads import Threads
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import ObjectStoreSettings

T = TypeVar("T")

_CHUNK = 1 << 20  # bytes read at once of an answer
_FOR_FILES = Patience(30, attempts=3)
_FOR_COPIES = Patience(30, attempts=2)  # some stores copy all parts before they say that the object is made
_SIGNED_FOR_S = 900  # as far as S3 bears with a clock that is wrong: no request fails that its probe does not foretell
_FIRST_KEYS_S = 3.0
_LONGEST_SIGNED_S = 604_800  # S3's own bound
_WITH_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}
_SHA256 = "sha256"  # metadata: not every server gives back the checksum that it was sent


class S3ObjectStore(Closing):
    """One bucket of one S3 server. Close it when done."""

    def __init__(self, settings: ObjectStoreSettings) -> None:
        """Raises `SettingsError` if the settings name no keys and boto3 finds none."""
        self._bucket = settings.bucket
        self._presign_ttl_s = settings.presign_ttl_s
        for_all_else = Patience(settings.answer_timeout_s, attempts=2)
        session = boto_session(settings)
        self._keys = KeyRing(session)
        self._client, self._patient = boto_clients(session, settings, for_all_else, _FOR_COPIES)
        self._parts = Multipart(self._client, self._patient, settings.bucket)
        self._tenant_id: UUID | None = None
        self._places = Places(settings.connections, wait_s=settings.pool_timeout_s)
        self._threads = Threads(self._places)
        self._files = plain_client(settings)
        self._asker = Asker(settings, for_all_else)
        self._inner = _signer(settings, settings.endpoint)
        self._signer = _signer(settings, settings.public_endpoint or settings.endpoint)

    def of(self, tenant_id: UUID) -> Self:
        mine = copy.copy(self)
        mine._tenant_id = tenant_id  # noqa: SLF001 - of its own class
        return mine

    @property
    def upload_ttl_s(self) -> int:
        return self._presign_ttl_s

    def presign_put(self, key: str, content_type: str, size: int, *, sha256_hex: str | None = None) -> Presigned:
        headers = {"Content-Type": content_type}
        if sha256_hex is not None:
            headers["x-amz-checksum-sha256"] = _b64(sha256_hex)
        return self._presign("PUT", key, self._presign_ttl_s, headers | {"Content-Length": str(size)}, headers)

    def presign_post(self, key: str, content_type: str, size: int, *, sha256_hex: str | None = None) -> PresignedForm:
        now, keys = datetime.now(UTC).replace(microsecond=0), self._keys.current()
        ttl_s = keys.at_most(self._presign_ttl_s, now)
        fields = {"Content-Type": content_type}
        if sha256_hex is not None:
            fields["x-amz-checksum-sha256"] = _b64(sha256_hex)
        url, form = self._signer.sign_form(key, keys=keys, ttl_s=ttl_s, fields=fields, length=(size, size), now=now)
        return PresignedForm(url=url, fields=form, expires_at=now + timedelta(seconds=ttl_s))

    def presign_part(self, key: str, upload_id: str, number: int) -> Presigned:
        query = {"partNumber": str(number), "uploadId": upload_id}
        return self._presign("PUT", key, self._presign_ttl_s, {}, {}, query)

    def presign_get(
        self,
        key: str,
        ends_at: datetime,
        *,
        method: Literal["GET", "HEAD"] = "GET",
        version_id: str | None = None,
        answer: Mapping[str, str] = NO_HEADERS,
    ) -> Presigned:
        signed_at, keys = step_of(datetime.now(UTC)), self._keys.current()
        ttl_s = keys.at_most(max(1, min(int((ends_at - signed_at).total_seconds()), _LONGEST_SIGNED_S)), signed_at)
        query = {f"response-{name.lower()}": value for name, value in answer.items()}
        query |= {} if version_id is None else {"versionId": version_id}
        url = self._signer.sign(method, key, keys=keys, ttl_s=ttl_s, headers={}, now=signed_at, query=query)
        return Presigned(url=url, headers={}, expires_at=signed_at + timedelta(seconds=ttl_s))

    def public_url(self, key: str) -> str:
        return self._signer.address(key)

    async def head(self, key: str, *, version_id: str | None = None, patient: bool = False) -> ObjectHead | None:
        async with self._asking(patient=patient):
            return await self._head(key, version_id)

    async def peek(self, key: str, count: int, *, patient: bool = False) -> tuple[ObjectHead, bytes] | None:
        async with self._asking(patient=patient):
            return await self._peek(key, count)

    async def create_multipart(self, key: str, content_type: str) -> str:
        return await self._run(lambda: self._parts.create(key, content_type))

    async def list_parts(self, key: str, upload_id: str) -> tuple[Part, ...] | None:
        return await self._run(lambda: self._parts.listing(key, upload_id))

    async def complete_multipart(self, key: str, upload_id: str, parts: Sequence[Part]) -> bool:
        return await self._run(lambda: self._parts.complete(key, upload_id, parts))

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        await self._run(lambda: self._parts.abort(key, upload_id))

    async def list_page(self, prefix: str, after: str | None = None) -> tuple[Listed, ...]:
        return await self._run(lambda: self._list_page(prefix, after))

    async def download(
        self, key: str, path: Path, *, if_match: str | None = None, version_id: str | None = None
    ) -> str:
        stop = threading.Event()
        try:
            return await self._run(lambda: self._download(key, path, if_match, version_id, stop), patient=True)
        finally:
            stop.set()  # a cancelled caller must not leave a thread that goes on writing

    async def put_file(
        self, key: str, path: Path, content_type: str, sha256_hex: str, *, cache_control: str | None = None
    ) -> Stored:
        created = await self._run(lambda: self._put(key, path, content_type, sha256_hex, cache_control), patient=True)
        if created is not None:
            return created
        found = await self.head(key, patient=True)
        if found is None or found.checksum is None:
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, "The object store contradicts itself.")
        return Stored(created=False, size=found.size, sha256=found.checksum)

    async def delete(self, key: str) -> None:
        await self._run(lambda: self._client.delete_object(Bucket=self._bucket, Key=key))

    async def check(self, *, patient: bool = False) -> None:
        await self._run(self._check, patient=patient)

    async def close(self) -> None:
        """Drop the connections; calls that run in threads end with their answer, questions under way fail."""
        self._threads.close()
        self._keys.close()
        self._client.close()
        self._patient.close()
        self._files.clear()
        await self._asker.close()

    def _presign(
        self,
        method: str,
        key: str,
        ttl_s: int,
        signed: dict[str, str],
        shown: dict[str, str],
        query: dict[str, str] | None = None,
    ) -> Presigned:
        now, keys = datetime.now(UTC).replace(microsecond=0), self._keys.current()
        ttl_s = keys.at_most(ttl_s, now)
        url = self._signer.sign(method, key, keys=keys, ttl_s=ttl_s, headers=signed, now=now, query=query)
        return Presigned(url=url, headers=shown, expires_at=now + timedelta(seconds=ttl_s))

    async def _run(self, call: Callable[[], T], *, patient: bool = False) -> T:
        def guarded() -> T:
            self._keys.current(wait_s=_FIRST_KEYS_S)
            with translated():
                return call()

        return await self._threads.run(guarded, patient=patient, owner=self._tenant_id)

    @asynccontextmanager
    async def _asking(self, *, patient: bool) -> AsyncIterator[None]:
        """Inside, the store may be asked in the event loop."""
        if self._keys.awaited:  # in a thread, for they may take a while
            await self._run(lambda: None, patient=patient)
        async with self._places.taken(self._tenant_id, patient=patient):
            with translated():
                yield

    async def _ask(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        *,
        query: Mapping[str, str] | None = None,
        most: int = 0,
    ) -> Answer:
        return await self._asker.ask(method, self._signed(method, key, headers, query), headers, most=most)

    def _signed(self, method: str, key: str, headers: Mapping[str, str], query: Mapping[str, str] | None = None) -> str:
        keys, now = self._keys.current(), datetime.now(UTC)
        return self._inner.sign(method, key, keys=keys, ttl_s=_SIGNED_FOR_S, headers=headers, now=now, query=query)

    def _move(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        *,
        body: BinaryIO | None = None,
        query: Mapping[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        return self._files.request(
            method, self._signed(method, key, headers, query), headers=headers, body=body, redirect=False,
            preload_content=body is not None, decode_content=False, timeout=_FOR_FILES.timeout,
            retries=_FOR_FILES.retries,
        )  # fmt: skip

    async def _head(self, key: str, version_id: str | None = None) -> ObjectHead | None:
        query = None if version_id is None else {"versionId": version_id}
        found = await self._ask("HEAD", key, _WITH_CHECKSUM, query=query)
        # 400: what is no version's name in this bucket, as `_get` says; 405: a version that says it was removed.
        if found.status == 404 or (query and found.status in {400, 405}):
            return None
        if found.status != 200:
            raise refused(found.status)
        return _object_head(found.headers, int(found.headers["content-length"]))

    async def _peek(self, key: str, count: int) -> tuple[ObjectHead, bytes] | None:
        found = await self._ask("GET", key, {"Range": f"bytes=0-{count - 1}"}, most=count)
        if found.status == 404:
            return None
        if found.status == 416:  # an object without bytes has no range
            head = await self._head(key)
            return None if head is None else (head, b"")
        if found.status == 206:
            return _object_head(found.headers, int(found.headers["content-range"].rpartition("/")[2])), found.body
        if found.status == 200 and "content-length" in found.headers:  # it knows no ranges
            return _object_head(found.headers, int(found.headers["content-length"])), found.body
        if found.status == 200:  # nor lengths, here
            head = await self._head(key)
            return None if head is None else (head, found.body)
        raise refused(found.status)

    def _list_page(self, prefix: str, after: str | None) -> tuple[Listed, ...]:
        found = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, StartAfter=after or "")
        return tuple(
            Listed(key=item["Key"], size=item["Size"], modified_at=item["LastModified"])
            for item in found.get("Contents", ())
        )

    def _check(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            # A HEAD has no body: 404 can only mean the bucket here.
            if status_of(error) != 404:
                raise
            detail = "The object store has no such bucket."
            raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, detail) from error

    def _download(
        self, key: str, path: Path, if_match: str | None, version_id: str | None, stop: threading.Event
    ) -> str:
        digest = hashlib.sha256()
        with path.open("wb") as file, closing(self._get(key, if_match, version_id)) as found:
            if found.status != 200:
                raise refused(found.status, code_of(found.read()))
            for chunk in found.stream(_CHUNK):
                if stop.is_set():
                    break
                digest.update(chunk)
                file.write(chunk)
        return digest.hexdigest()

    def _get(self, key: str, if_match: str | None, version_id: str | None) -> urllib3.BaseHTTPResponse:
        condition = {} if if_match is None else {"If-Match": f'"{if_match}"'}
        query = None if version_id is None else {"versionId": version_id}
        found = self._move("GET", key, condition, query=query)
        # Versions are named by their bucket: one that was moved or restored has the bytes, under other names or none.
        if found.status in {400, 404} and query and condition:
            found.close()
            return self._get(key, if_match, None)
        return found

    def _put(
        self, key: str, path: Path, content_type: str, sha256_hex: str, cache_control: str | None
    ) -> Stored | None:
        """None if something stands under the key already."""
        size = path.stat().st_size
        headers = {
            "Content-Type": content_type,
            "Content-Length": str(size),
            "x-amz-checksum-sha256": _b64(sha256_hex),
            f"x-amz-meta-{_SHA256}": sha256_hex,
            "If-None-Match": "*",
        } | ({} if cache_control is None else {"Cache-Control": cache_control})
        with path.open("rb") as file:
            found = self._move("PUT", key, headers, body=file)
        # 409: another conditional PUT of the key is under way, S3's own word for a lost race.
        if found.status in {409, 412}:
            return None
        if found.status != 200:
            raise refused(found.status, code_of(found.data))
        return Stored(created=True, size=size, sha256=sha256_hex)


def _object_head(headers: Mapping[str, str], size: int) -> ObjectHead:
    checksum = headers.get("x-amz-checksum-sha256")
    return ObjectHead(
        size=size,
        etag=headers["etag"].strip('"'),
        content_type=headers.get("content-type", ""),
        version_id=headers.get("x-amz-version-id"),
        checksum=base64.b64decode(checksum).hex() if checksum else headers.get(f"x-amz-meta-{_SHA256}"),
    )


def _b64(sha256_hex: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256_hex)).decode()


def _signer(settings: ObjectStoreSettings, endpoint: str) -> QuerySigner:
    return QuerySigner(endpoint=endpoint, bucket=settings.bucket, region=settings.region)
