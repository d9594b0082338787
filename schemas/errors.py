"""Every error code, its class and its HTTP status, in one table.

A code is transient (the same work may succeed later) or permanent (it never will), and may bound the attempts of a job
that takes long; nothing else decides about retries, but the most attempts that a worker's settings allow.
"""

from enum import StrEnum
from typing import NamedTuple


class ErrorClass(StrEnum):
    """What a failure means for the work."""

    PERMANENT = "permanent"  # the input is at fault: fail at once
    TRANSIENT = "transient"  # try again with backoff, costs an attempt
    DEPENDENCY = "dependency"  # a shared dependency is away: pause the lane, costs no attempt
    REQUEST = "request"  # a caller's request was refused; no job involved


class ErrorCode(StrEnum):
    """Stable, published codes; a code is never given a new meaning."""

    # The uploaded bytes
    EMPTY_FILE = "empty_file"
    UNKNOWN_FORMAT = "unknown_format"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TYPE_MISMATCH = "type_mismatch"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_LONG = "too_long"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_AUDIO_STREAM = "no_audio_stream"
    LIMIT_EXCEEDED = "limit_exceeded"
    SOURCE_CHANGED = "source_changed"
    SOURCE_MISSING = "source_missing"
    # The work
    PROCESSING_TIMEOUT = "processing_timeout"
    PROCESSING_FAILED = "processing_failed"
    CHILD_DIED = "child_died"
    WORKER_LOST = "worker_lost"
    UNDECODABLE_RECORD = "undecodable_record"
    # Shared dependencies
    OBJECT_STORE_UNAVAILABLE = "object_store_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    BROKER_UNAVAILABLE = "broker_unavailable"
    NO_TEMP_SPACE = "no_temp_space"
    # Requests
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_TYPE = "unsupported_type"
    SIZE_OUT_OF_RANGE = "size_out_of_range"
    UPLOAD_MISSING = "upload_missing"
    UPLOAD_SIZE_MISMATCH = "upload_size_mismatch"
    UPLOAD_TYPE_MISMATCH = "upload_type_mismatch"
    CONFLICT = "conflict"
    WEBHOOK_URL_REFUSED = "webhook_url_refused"
    WEBHOOK_DISABLED = "webhook_disabled"
    DELIVERY_UNDER_WAY = "delivery_under_way"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    TOO_MANY_UPLOADS = "too_many_uploads"
    UPLOAD_CHECKSUM_MISMATCH = "upload_checksum_mismatch"
    PART_INVALID = "part_invalid"
    PULL_FAILED = "pull_failed"
    PULL_URL_REFUSED = "pull_url_refused"
    PROFILES_REFUSED = "profiles_refused"
    IDEMPOTENCY_KEY_IN_USE = "idempotency_key_in_use"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    ADDRESS_INVALID = "address_invalid"
    ADDRESS_EXPIRED = "address_expired"
    NOT_ACCEPTABLE = "not_acceptable"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    REQUEST_TIMEOUT = "request_timeout"
    QUERY_TIMEOUT = "query_timeout"
    SERVICE_UNAVAILABLE = "service_unavailable"
    INTERNAL = "internal"


class ErrorSpec(NamedTuple):
    """What a code means: its class, the HTTP status where a request meets it, and a sentence for people.

    `video_attempts`: how many a job of a video or of sound has at most if one ends so; None: as many as any job. An
    attempt that has had all the time that a film is allowed, which may be most of a day, would have it again.
    """

    error_class: ErrorClass
    status: int
    meaning: str
    video_attempts: int | None = None


_P, _T, _D, _R = ErrorClass.PERMANENT, ErrorClass.TRANSIENT, ErrorClass.DEPENDENCY, ErrorClass.REQUEST

ERRORS: dict[ErrorCode, ErrorSpec] = {
    ErrorCode.EMPTY_FILE: ErrorSpec(_P, 422, "The file has no bytes."),
    ErrorCode.UNKNOWN_FORMAT: ErrorSpec(_P, 422, "The content is of no format that is known."),
    ErrorCode.UNSUPPORTED_FORMAT: ErrorSpec(_P, 422, "The content is of a format that is not processed."),
    ErrorCode.TYPE_MISMATCH: ErrorSpec(_P, 422, "The content is not of the kind that was declared."),
    ErrorCode.TRUNCATED: ErrorSpec(_P, 422, "The file ends before its content does."),
    ErrorCode.CORRUPT: ErrorSpec(_P, 422, "The content cannot be decoded."),
    ErrorCode.TOO_LARGE: ErrorSpec(_P, 422, "The file has more bytes than are allowed."),
    ErrorCode.TOO_MANY_PIXELS: ErrorSpec(_P, 422, "The picture has more pixels than are allowed."),
    ErrorCode.TOO_MANY_FRAMES: ErrorSpec(_P, 422, "The file has more frames than are allowed."),
    ErrorCode.TOO_LONG: ErrorSpec(_P, 422, "The duration is longer than is allowed."),
    ErrorCode.NO_VIDEO_STREAM: ErrorSpec(_P, 422, "The file has no video stream."),
    ErrorCode.NO_AUDIO_STREAM: ErrorSpec(_P, 422, "The file has no sound."),
    ErrorCode.LIMIT_EXCEEDED: ErrorSpec(_P, 422, "Decoding went past a limit on memory, time or file size."),
    ErrorCode.SOURCE_CHANGED: ErrorSpec(_P, 409, "The object is not the one that was completed."),
    ErrorCode.SOURCE_MISSING: ErrorSpec(_P, 409, "The object is gone."),
    ErrorCode.PROCESSING_TIMEOUT: ErrorSpec(_T, 500, "Processing took longer than is allowed.", video_attempts=2),
    ErrorCode.PROCESSING_FAILED: ErrorSpec(_T, 500, "Processing failed."),
    ErrorCode.CHILD_DIED: ErrorSpec(_T, 500, "The processing child died."),
    ErrorCode.WORKER_LOST: ErrorSpec(_P, 500, "The job was lost with its worker too often."),
    ErrorCode.UNDECODABLE_RECORD: ErrorSpec(_P, 500, "The Kafka record cannot be decoded."),
    ErrorCode.OBJECT_STORE_UNAVAILABLE: ErrorSpec(_D, 503, "The object store does not answer."),
    ErrorCode.DATABASE_UNAVAILABLE: ErrorSpec(_D, 503, "The database does not answer."),
    ErrorCode.BROKER_UNAVAILABLE: ErrorSpec(_D, 503, "The message broker does not answer."),
    ErrorCode.NO_TEMP_SPACE: ErrorSpec(_D, 503, "There is no room for temporary files."),
    ErrorCode.UNAUTHENTICATED: ErrorSpec(_R, 401, "The API key is missing, unknown, revoked or expired."),
    ErrorCode.FORBIDDEN: ErrorSpec(_R, 403, "The API key may not do this."),
    ErrorCode.NOT_FOUND: ErrorSpec(_R, 404, "There is no such thing for this tenant."),
    ErrorCode.INVALID_REQUEST: ErrorSpec(_R, 400, "The request is malformed."),
    ErrorCode.UNSUPPORTED_TYPE: ErrorSpec(_R, 400, "This content type is not accepted."),
    ErrorCode.SIZE_OUT_OF_RANGE: ErrorSpec(_R, 400, "The size is not between one byte and the allowed maximum."),
    ErrorCode.UPLOAD_MISSING: ErrorSpec(_R, 409, "Nothing was uploaded to this asset yet."),
    ErrorCode.UPLOAD_SIZE_MISMATCH: ErrorSpec(_R, 409, "The uploaded object is not of the declared size."),
    ErrorCode.UPLOAD_TYPE_MISMATCH: ErrorSpec(_R, 409, "The uploaded object is not of the declared type."),
    ErrorCode.CONFLICT: ErrorSpec(_R, 409, "The request does not fit the present state."),
    ErrorCode.WEBHOOK_URL_REFUSED: ErrorSpec(_R, 422, "Webhooks are not sent to this address."),
    ErrorCode.WEBHOOK_DISABLED: ErrorSpec(_R, 409, "The webhook endpoint is disabled; nothing is sent to it."),
    ErrorCode.DELIVERY_UNDER_WAY: ErrorSpec(_R, 409, "The delivery has not ended: it is sent, or waits to be."),
    ErrorCode.RATE_LIMITED: ErrorSpec(_R, 429, "Too many requests; come again after `Retry-After` seconds."),
    ErrorCode.QUOTA_EXCEEDED: ErrorSpec(_R, 403, "A limit is reached: of the plan, or on endpoints or keys."),
    ErrorCode.TOO_MANY_UPLOADS: ErrorSpec(_R, 429, "Too many uploads are open; complete some, or come again later."),
    ErrorCode.UPLOAD_CHECKSUM_MISMATCH: ErrorSpec(_R, 409, "The uploaded object has not the declared checksum."),
    ErrorCode.PART_INVALID: ErrorSpec(_R, 409, "The parts do not make up the declared file."),
    ErrorCode.PULL_FAILED: ErrorSpec(_R, 422, "The address could not be fetched."),
    ErrorCode.PULL_URL_REFUSED: ErrorSpec(_R, 422, "Files are not fetched from this address."),
    ErrorCode.PROFILES_REFUSED: ErrorSpec(_R, 422, "These profiles cannot be made of this upload."),
    ErrorCode.IDEMPOTENCY_KEY_IN_USE: ErrorSpec(_R, 409, "A request with this Idempotency-Key is being worked on."),
    ErrorCode.IDEMPOTENCY_KEY_REUSED: ErrorSpec(_R, 422, "This Idempotency-Key was used for another request."),
    ErrorCode.ADDRESS_INVALID: ErrorSpec(_R, 403, "The address was not signed by this service."),
    ErrorCode.ADDRESS_EXPIRED: ErrorSpec(_R, 403, "The address has expired; read the asset for a new one."),
    ErrorCode.NOT_ACCEPTABLE: ErrorSpec(_R, 406, "The picture is in none of the formats that `Accept` allows."),
    ErrorCode.RANGE_NOT_SATISFIABLE: ErrorSpec(_R, 416, "None of the bytes is in the range that was asked for."),
    ErrorCode.REQUEST_TIMEOUT: ErrorSpec(_R, 408, "The request's body did not arrive in time."),
    ErrorCode.QUERY_TIMEOUT: ErrorSpec(_R, 422, "The list took too long: ask for less of it."),
    ErrorCode.SERVICE_UNAVAILABLE: ErrorSpec(_R, 503, "A part of the service does not answer; try again."),
    ErrorCode.INTERNAL: ErrorSpec(_R, 500, "Something went wrong on our side."),
}


OF_THE_CONTENT: frozenset[ErrorCode] = frozenset(
    {
        ErrorCode.EMPTY_FILE,
        ErrorCode.UNKNOWN_FORMAT,
        ErrorCode.UNSUPPORTED_FORMAT,
        ErrorCode.TRUNCATED,
        ErrorCode.CORRUPT,
        ErrorCode.TOO_LARGE,
        ErrorCode.TOO_MANY_PIXELS,
        ErrorCode.TOO_MANY_FRAMES,
        ErrorCode.TOO_LONG,
        ErrorCode.NO_VIDEO_STREAM,
        ErrorCode.NO_AUDIO_STREAM,
        ErrorCode.LIMIT_EXCEEDED,
    }
)
"""Codes that the bytes alone are to blame for: the same bytes uploaded again get the same code, without processing."""

READER = 1
"""Which bytes this release can read. Raise it by one when it can read more than the release before: a format, a larger
limit, a decoder that was mended. What failed under a smaller number is tried anew when it is uploaded again.
"""


class MedialaneError(Exception):
    """A failure with a published code.

    `detail` is for people and never holds an internal address, a stack trace or another tenant's data;
    `field` names the offending request field, if one is to blame; `retry_after_s` says when to come again. `told` is
    the code in rows and events: that of a newer release where it is not known here, for whose class `code` stands.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        *,
        field: str | None = None,
        retry_after_s: float | None = None,
        told: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail or ERRORS[code].meaning}")
        self.code = code
        self.told: str = told or code
        self.detail = detail or ERRORS[code].meaning
        self.field = field
        self.retry_after_s = retry_after_s

    @property
    def error_class(self) -> ErrorClass:
        """Whether the same work may succeed later."""
        return ERRORS[self.code].error_class

    @property
    def status(self) -> int:
        """The HTTP status for a request that meets this error."""
        return ERRORS[self.code].status
