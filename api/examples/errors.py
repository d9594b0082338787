"""An error of each status, in both shapes."""

from api.envelope import Failure, Problem
from schemas.errors import ERRORS, ErrorCode

BY_STATUS: dict[int, tuple[ErrorCode, str | None]] = {
    400: (ErrorCode.INVALID_REQUEST, "tags[0]"),
    401: (ErrorCode.UNAUTHENTICATED, None),
    403: (ErrorCode.FORBIDDEN, None),
    404: (ErrorCode.NOT_FOUND, None),
    406: (ErrorCode.NOT_ACCEPTABLE, None),
    408: (ErrorCode.REQUEST_TIMEOUT, None),
    409: (ErrorCode.CONFLICT, None),
    413: (ErrorCode.INVALID_REQUEST, None),
    416: (ErrorCode.RANGE_NOT_SATISFIABLE, None),
    422: (ErrorCode.IDEMPOTENCY_KEY_REUSED, "Idempotency-Key"),
    429: (ErrorCode.RATE_LIMITED, None),
    500: (ErrorCode.INTERNAL, None),
    503: (ErrorCode.DATABASE_UNAVAILABLE, None),
}


def failure(status: int) -> Failure:
    """The reference system's shape."""
    code, field = BY_STATUS[status]
    return Failure(status="error", message=ERRORS[code].meaning, code=code, field=field)


def problem(status: int) -> Problem:
    """RFC 9457's."""
    code, field = BY_STATUS[status]
    return Problem(
        type=f"urn:medialane:error:{code.value}", title=ERRORS[code].meaning, status=status,
        detail=ERRORS[code].meaning, instance="/api/v1/assets", code=code, field=field,
    )  # fmt: skip
