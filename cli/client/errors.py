"""What can go wrong on the client's side of the wire: one exception per kind of answer.

A caller catches `ClientError` for all of it, or the one kind that it can do something about.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.client.models import Asset


class ClientError(Exception):
    """Anything that kept a call from succeeding."""


class UnreachableError(ClientError):
    """No answer: the address is wrong, the service is down, or it took too long. The call may have had its effect.

    Where it must not have it twice, repeat it under the `idempotency_key` that it had.
    """


class BadAnswerError(ClientError):
    """An answer that this client cannot read: something else listens there, or the API is of another version."""


class StoreRefusedError(ClientError):
    """The object store refused the bytes, or to give them; `status` is its HTTP status.

    403: the address expired, or what was sent is not of the type and length that were signed.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the object store answered {status}: {detail}")
        self.status = status


class AssetFailedError(ClientError):
    """The asset failed, or was cancelled or deleted; `asset` has the state, and a code and a reason if it failed."""

    def __init__(self, asset: "Asset") -> None:
        super().__init__(f"asset {asset.id} failed: {asset.error_code or 'unknown'}: {asset.error_detail or ''}")
        self.asset = asset


class StillProcessingError(ClientError):
    """The asset was not terminal when the caller's patience ended; it goes on by itself."""

    def __init__(self, asset: "Asset", waited_s: float) -> None:
        super().__init__(f"asset {asset.id} is still {asset.state} after {waited_s:.0f} s")
        self.asset = asset


class ApiError(ClientError):
    """The API answered with an error.

    `code` is one of the published codes (None from a server that sends none), `field` the request field to blame,
    `trace_id` what to quote to the operators, `retry_after_s` when to come again, in seconds, if that was said.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        trace_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        blame = f" (field {field})" if field else ""
        super().__init__(f"{status}{f' {code}' if code else ''}: {message}{blame}")
        self.status = status
        self.message = message
        self.code = code
        self.field = field
        self.trace_id = trace_id
        self.retry_after_s = retry_after_s


class BadRequestError(ApiError):
    """400: the request is malformed; `field` says where."""


class UnauthenticatedError(ApiError):
    """401: the key is missing, unknown, revoked or expired."""


class ForbiddenError(ApiError):
    """403: the key may not do this, or a quota is used up."""


class NotFoundError(ApiError):
    """404: no such thing for this tenant."""


class ConflictError(ApiError):
    """409: it does not fit the present state (nothing uploaded yet, another size than declared)."""


class RefusedError(ApiError):
    """422: understood and refused (a webhook address that is not allowed)."""


class RateLimitedError(ApiError):
    """429: too many requests, also after the pauses that the answers asked for."""


class ServerError(ApiError):
    """5xx: the service's fault; the same call may succeed later."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequestError,
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: RefusedError,
    429: RateLimitedError,
}


def api_error(
    status: int,
    message: str,
    *,
    code: str | None,
    field: str | None,
    trace_id: str | None,
    retry_after_s: float | None,
) -> ApiError:
    """The exception for an HTTP status."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return kind(status, message, code=code, field=field, trace_id=trace_id, retry_after_s=retry_after_s)
