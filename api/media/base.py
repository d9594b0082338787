"""The API's own address as its callers reach it."""

import re
from typing import Any

from litestar.connection import ASGIConnection

from schemas.settings import ApiSettings, SettingsError, variable

_USABLE = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?")


class Base:
    """What addresses of our own begin with: the setting, or else what the request was sent to."""

    def __init__(self, public_endpoint: str | None) -> None:
        """Raises `SettingsError` for what is no address to put paths after."""
        if public_endpoint is not None and not _USABLE.fullmatch(public_endpoint):
            raise SettingsError([f"{variable(ApiSettings, 'public_endpoint')} is not http(s)://host[:port][/path]"])
        self._public_endpoint = public_endpoint

    def of(self, request: "ASGIConnection[Any, Any, Any, Any]") -> str:
        """Without a slash at the end."""
        if self._public_endpoint is not None:
            return self._public_endpoint.rstrip("/")
        # Nobody but the caller reads the answer, so a Host header that lies deceives only who sent it.
        return f"{request.url.scheme}://{request.url.netloc}"
