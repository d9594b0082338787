"""The shapes around every answer: the reference system's, so that its clients only change the address."""

from typing import Generic, Literal, TypeVar

import msgspec

from schemas.errors import ErrorCode

T = TypeVar("T")


class Success(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """An answer with data."""

    data: T
    status: Literal["success"] = "success"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that only says that it is done."""

    message: str
    status: Literal["success"] = "success"


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error: `message` for people, `code` for programs, `field` if one of the request is to blame."""

    status: Literal["error"]
    message: str
    code: ErrorCode
    field: str | None = None
