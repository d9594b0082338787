"""A file while it arrives: judged as early as can be, so that little is fetched of what is refused."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec
from yarl import URL

from api.announcing import Announced, announce, judge
from api.fields import CONTROLS
from api.limits.admission import Admission
from api.pulls.models import PullRequest
from connectors.http.fetch import Declared
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import NewAsset
from processors.sniff import HEAD_BYTES
from schemas.errors import ErrorCode, MedialaneError

_ASKED_BEYOND = 1 << 20
_LONGEST_NAME = 255
_CONTROLS = re.compile(f"[{CONTROLS}]")


class Arriving:
    """What is known so far of one file; its bytes go on to `sink`."""

    def __init__(
        self,
        who: Principal,
        wanted: PullRequest,
        admission: Admission,
        sink: Callable[[bytes], Awaitable[None]],
        *,
        max_bytes: int,
        traceparent: str | None,
    ) -> None:
        self._who = who
        self._wanted = wanted
        self._admission = admission
        self._sink = sink
        self._max_bytes = max_bytes
        self._traceparent = traceparent
        self._asset: NewAsset | None = None
        self._head = b""
        self._judged = False
        self._size = self._ask_beyond = 0

    async def begin(self, declared: Declared) -> None:
        """Judge what its server says of it.

        Raises `MedialaneError`: empty_file, unsupported_type, profiles_refused, quota_exceeded.
        """
        if declared.size == 0:
            raise MedialaneError(ErrorCode.EMPTY_FILE, field="url")
        wanted = self._wanted
        self._asset = announce(
            self._who,
            Announced(
                file_name=wanted.file_name or _name_in(wanted.url),
                content_type=wanted.content_type or declared.content_type,
                size=declared.size or 1,
                metadata=wanted.metadata,
                tags=wanted.tags,
                profiles=wanted.profiles,
            ),
            max_bytes=self._max_bytes,
            expires_at=datetime.now(UTC),
            traceparent=self._traceparent,
        )
        self._ask_beyond = declared.size or _ASKED_BEYOND
        await self._admission.may_have(self._who, self._asset)

    async def take(self, chunk: bytes) -> None:
        """Take its next bytes.

        Raises `MedialaneError`: unknown_format, unsupported_format, type_mismatch, once its beginning is there;
        quota_exceeded for more than there is room for, where nobody said how much would come.
        """
        self._size += len(chunk)
        if not self._judged:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._judge()
        if self._size > self._ask_beyond:
            self._ask_beyond = 2 * self._size
            await self._admission.may_have(self._who, msgspec.structs.replace(self._begun, size=self._size))
        await self._sink(chunk)

    def end(self, sha256: str) -> NewAsset:
        """The asset to make of it, once it is whole.

        Raises `MedialaneError`: empty_file, upload_checksum_mismatch, and what `take` does of a short file.
        """
        if self._size == 0:
            raise MedialaneError(ErrorCode.EMPTY_FILE, field="url")
        if self._wanted.sha256 not in {None, sha256}:
            detail = "The bytes at the address have another SHA-256."
            raise MedialaneError(ErrorCode.UPLOAD_CHECKSUM_MISMATCH, detail, field="sha256")
        if not self._judged:
            self._judge()
        return msgspec.structs.replace(self._begun, size=self._size, expected_sha256=bytes.fromhex(sha256))

    @property
    def _begun(self) -> NewAsset:
        if self._asset is None:
            raise RuntimeError("bytes came before anything was said of them")
        return self._asset

    def _judge(self) -> None:
        asset = self._begun
        judge(asset.kind, asset.content_type, self._head)
        self._judged = True


def _name_in(url: str) -> str:
    kept = _CONTROLS.sub("", URL(url).name)
    return kept[-_LONGEST_NAME:] or "file"
