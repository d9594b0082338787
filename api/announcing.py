"""An upload that is announced, by whichever route: what it must be, and where its bytes will stand."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from connectors.postgres.accounts.keys import Principal
from connectors.postgres.assets.lifecycle import NewAsset
from processors.sniff import sniff_bytes
from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7
from schemas.profiles import ACCEPTED_TYPES
from schemas.states import MediaKind

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 100
_MOST_METADATA_BYTES = 16_384  # what the column takes


class Announced(msgspec.Struct, frozen=True, kw_only=True):
    """What a client says of the bytes: size in bytes, SHA-256 in hex if it is known beforehand."""

    file_name: str
    content_type: str
    size: int
    sha256: str | None = None
    metadata: Mapping[str, str] = {}
    tags: Sequence[str] = ()
    profiles: Sequence[str] | None = None


def announce(
    who: Principal, said: Announced, *, max_bytes: int, expires_at: datetime, traceparent: str | None
) -> NewAsset:
    """The asset to make.

    Raises `MedialaneError`: unsupported_type, size_out_of_range, invalid_request for too much metadata.
    """
    check_metadata(said.metadata)
    kind = ACCEPTED_TYPES.get(said.content_type.lower())
    if kind is None:
        detail = f"This content type is not accepted; these are: {', '.join(ACCEPTED_TYPES)}."
        raise MedialaneError(ErrorCode.UNSUPPORTED_TYPE, detail, field="contentType")
    if not 1 <= said.size <= max_bytes:
        detail = f"The size must be between 1 and {max_bytes} bytes."
        raise MedialaneError(ErrorCode.SIZE_OUT_OF_RANGE, detail, field="size")
    asset_id = uuid7()
    return NewAsset(
        id=asset_id,
        kind=kind,
        file_name=said.file_name,
        content_type=said.content_type.lower(),
        size=said.size,
        object_key=f"uploads/{who.tenant_id}/{asset_id}/{safe_name(said.file_name)}",
        upload_expires_at=expires_at,
        expected_sha256=bytes.fromhex(said.sha256) if said.sha256 is not None else None,
        metadata=dict(said.metadata),
        tags=tuple(dict.fromkeys(said.tags)),
        profiles=None if said.profiles is None else tuple(dict.fromkeys(said.profiles)),
        traceparent=traceparent,
        created_by=who.actor,
    )


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Whether there is room for it; few characters may be many bytes. Raises `MedialaneError(invalid_request)`."""
    # As the database writes it: with a space after each comma and colon, and nothing but what JSON must escape escaped.
    size = len(json.dumps(dict(metadata), ensure_ascii=False).encode())
    if size > _MOST_METADATA_BYTES:
        detail = f"All of it together may have {_MOST_METADATA_BYTES} bytes as JSON in UTF-8; this has {size}."
        raise MedialaneError(ErrorCode.INVALID_REQUEST, detail, field="metadata")


def judge(kind: MediaKind, content_type: str, beginning: bytes) -> None:
    """Whether a file that begins like this is of the announced kind.

    The worker judges again, in its sandbox: this only spares a job for what plainly is no such file.
    Raises `MedialaneError`: unknown_format, unsupported_format, type_mismatch.
    """
    found = sniff_bytes(beginning)
    if found.kind is not kind:
        detail = f"The content is {found.kind.value} ({found.format}); {content_type} was announced."
        raise MedialaneError(ErrorCode.TYPE_MISMATCH, detail)


def safe_name(file_name: str) -> str:
    """A file name as the last part of an object key: ASCII letters, digits, '.', '_' and '-', its extension kept."""
    stem, dot, extension = _UNSAFE.sub("_", file_name).rpartition(".")
    ending = f"{dot}{extension[:16]}"
    return (stem[: _LONGEST_NAME - len(ending)] + ending).lstrip(".") or "file"
