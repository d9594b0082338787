"""The API's own address as its callers reach it."""

from typing import Any

from litestar.connection import ASGIConnection

MEDIA_PREFIX = "/media"
"""Where signed addresses of variants begin; not under `/api`, all of which needs a key and is kept in no cache."""


class OwnAddress:
    """What addresses of our own begin with: the setting, or else what the request was sent to."""

    def __init__(self, public_endpoint: str | None) -> None:
        self._public_endpoint = public_endpoint

    def of(self, request: "ASGIConnection[Any, Any, Any, Any]") -> str:
        """Without a slash at the end."""
        if self._public_endpoint is not None:
            return self._public_endpoint.rstrip("/")
        # Nobody but the caller reads the answer, so a Host header that lies deceives only who sent it.
        return f"{request.url.scheme}://{request.url.netloc}"
