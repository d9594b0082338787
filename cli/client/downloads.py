"""The client's downloads to files: of any size, and whole or not at all."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import aiohttp
from yarl import URL

from cli.client.errors import BadAnswerError, StoreRefusedError
from cli.client.transport import reaching
from cli.client.wire import STORE_FAILED, Wire

_CHUNK = 1 << 20
_SILENCE_S = 60.0

Got = Callable[[int], None]
"""Called with a number of bytes whenever they have come."""


class Downloads(Wire):
    """What brings bytes out."""

    async def save(
        self, address: str, path: Path, *, size: int, sha256: str | None = None, got: Got = lambda _: None
    ) -> None:
        """Write the bytes at a signed address to a file: it is there whole, or as it was before.

        Raises `BadAnswerError` for any but `size` bytes, or of another SHA-256 (hex digits), and the `OSError` of a
        file that cannot be written.
        """
        beside = path.with_name(f".medialane-{uuid4().hex}.part")
        try:
            count, digest = await self._write(URL(address, encoded=True), beside, got)
            if count != size:
                raise BadAnswerError(f"{count} bytes came, and not the {size} that were announced")
            if sha256 not in {None, digest}:
                raise BadAnswerError("other bytes came than those that were announced")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    async def _write(self, address: URL, path: Path, got: Got) -> tuple[int, str]:
        # However long it takes, as long as something comes.
        patient = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s, sock_read=_SILENCE_S)
        count, hashed = 0, hashlib.sha256()
        with path.open("xb") as file:
            with reaching(STORE_FAILED):
                response = await self._open().get(address, timeout=patient)
            async with response:
                if response.status != 200:
                    raise StoreRefusedError(response.status, f"to the download of {address.name}")
                while chunk := await _next(response):
                    await asyncio.to_thread(file.write, chunk)
                    hashed.update(chunk)
                    count += len(chunk)
                    got(len(chunk))
        return count, hashed.hexdigest()


async def _next(response: aiohttp.ClientResponse) -> bytes:
    with reaching(STORE_FAILED):
        return await response.content.read(_CHUNK)
