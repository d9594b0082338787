"""From what the store answers, and its clients raise, to Medialane's codes: nobody else sees any of it."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError, MaxRetryError

from schemas.errors import ErrorCode, MedialaneError

_CODE = re.compile(rb"<Code>(\w+)</Code>")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def translated() -> Iterator[None]:
    """Inside, whatever the store or its transport does wrong becomes a `MedialaneError`."""
    try:
        yield
    except ClientError as error:
        raise _of_answer(error) from error
    except (BotoCoreError, HTTPError, aiohttp.ClientError, ConnectionError, TimeoutError) as error:
        cause = _without_address(error)
        detail = f"The object store does not answer ({type(cause or error).__name__})."
        raise MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, detail) from cause
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise MedialaneError(ErrorCode.NO_TEMP_SPACE) from error


def _without_address(error: Exception) -> BaseException | None:
    """What happened to the connection. Logs and traces show causes, and the errors around this one quote the request's
    address: a signature, which opens the object, and the name of somebody's file.
    """
    if isinstance(error, MaxRetryError):
        return error.reason
    if isinstance(error, BotoCoreError):
        inner = error.kwargs.get("error")
        return inner if isinstance(inner, BaseException) else None
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return None
    return error


def status_of(error: ClientError) -> int:
    """The HTTP status that the store answered with."""
    status: int = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status


def code_of(body: bytes) -> str:
    """S3's name for what went wrong, out of an answer's XML; empty if there is none."""
    found = _CODE.search(body)
    return found[1].decode() if found else ""


def refused(status: int, code: str = "") -> MedialaneError:
    """The error for an answer to a request about one object."""
    if status == 404 and code != "NoSuchBucket":
        return MedialaneError(ErrorCode.SOURCE_MISSING)
    if status == 412:
        return MedialaneError(ErrorCode.SOURCE_CHANGED)
    # A missing bucket or refused credentials are our own set-up's fault: no work may be given up for it.
    answer = " ".join(filter(None, (str(status), code)))
    return MedialaneError(ErrorCode.OBJECT_STORE_UNAVAILABLE, f"The object store refused ({answer}).")


def _of_answer(error: ClientError) -> MedialaneError:
    return refused(status_of(error), error.response.get("Error", {}).get("Code", ""))
