"""The shapes around every answer: the reference system's, so that its clients only change the address."""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from schemas.errors import ErrorCode

T = TypeVar("T")

Moment = Annotated[datetime, Meta(tz=True)]
"""A time in an answer, always UTC. msgspec tells the format only of those that must have an offset."""

PROBLEM_TYPE = "application/problem+json"


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


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 has it, for clients that accept `application/problem+json`; `type` goes with the code."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: ErrorCode
    field: str | None = None
