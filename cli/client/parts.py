"""A large file, sent in parts that are signed in batches, some at a time, and taken up again after an interruption."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from cli.client.client import MedialaneClient
from cli.client.errors import ConflictError, NotFoundError, StoreRefusedError, UnreachableError
from cli.client.models import StoredPart
from cli.client.uploads import is_made

SMALLEST_PART = 8 << 20
_MOST_PARTS = 10_000
_SIGNED_AT_ONCE = 50
_ATTEMPTS = 4

Sent = Callable[[int], None]
"""Called with a number of bytes whenever they have arrived (or were found to have)."""


def part_size(size: int) -> int:
    """Bytes per part: a whole number of MiB, so that no more than ten thousand are needed."""
    least = -(-size // _MOST_PARTS)
    return max(SMALLEST_PART, -(-least // (1 << 20)) << 20)


def name_of(path: Path) -> str:
    """A file's name as text: bytes that are no UTF-8, as old disks have them, become U+FFFD."""
    return os.fsencode(path.name).decode(errors="replace")


class PartsUpload:
    """One file on its way."""

    def __init__(
        self,
        client: MedialaneClient,
        path: Path,
        content_type: str,
        *,
        metadata: Mapping[str, str] | None = None,
        tags: Sequence[str] = (),
        profiles: Sequence[str] | None = None,
        parallel: int = 4,
        sent: Sent = lambda _: None,
    ) -> None:
        self._client = client
        self._path = path
        self._content_type = content_type
        self._metadata = metadata
        self._tags = tags
        self._profiles = profiles
        self._parallel = parallel
        self._sent = sent
        self._size = path.stat().st_size
        self._part = part_size(self._size)

    async def begin(self, *, idempotency_key: str | None = None) -> UUID:
        """Announce the file; whoever keeps the id can go on with `resume` after an interruption."""
        begun = await self._client.begin_parts(
            name_of(self._path), self._content_type, self._size, metadata=self._metadata, tags=self._tags,
            profiles=self._profiles, idempotency_key=idempotency_key,
        )  # fmt: skip
        return begun.upload_id

    async def resume(self, upload_id: UUID) -> bool:
        """Bring an upload that was begun before to its end; False if it can only be begun anew."""
        parts: Sequence[StoredPart] | None
        try:
            parts = await self._client.stored_parts(upload_id)
        except NotFoundError:
            return False
        except ConflictError:
            parts = None
        # Without parts it may have been completed, and the answer lost: sent again it would be a second asset.
        if not parts and await is_made(self._client, upload_id):
            self._sent(self._size)
            return True
        if parts is None:
            return False
        await self.send(upload_id, parts)
        return True

    async def send(self, upload_id: UUID, stored: Sequence[StoredPart] = ()) -> None:
        """Send what is not among the stored parts, then complete.

        Raises what failed first: a kind of `ClientError`, or the `OSError` of a file that cannot be read any more.
        """
        tags = {}
        for part in stored:
            if part.size == self._length(part.part_number):
                tags[part.part_number] = part.e_tag
                self._sent(part.size)
        count = -(-self._size // self._part)
        missing = [number for number in range(1, count + 1) if number not in tags]
        limit = asyncio.Semaphore(self._parallel)
        for start in range(0, len(missing), _SIGNED_AT_ONCE):
            batch = missing[start : start + _SIGNED_AT_ONCE]
            addresses = await self._client.part_addresses(upload_id, batch)
            try:
                async with asyncio.TaskGroup() as group:
                    sending = {
                        number: group.create_task(self._put(upload_id, number, addresses[number], limit))
                        for number in batch
                    }
            except ExceptionGroup as failed:  # that parts go at once is no matter of the caller's: what failed first
                raise failed.exceptions[0] from failed.exceptions[0].__cause__
            tags |= {number: task.result() for number, task in sending.items()}
        await self._client.complete_parts(upload_id, tags)

    async def _put(self, upload_id: UUID, number: int, address: str, limit: asyncio.Semaphore) -> str:
        async with limit:
            content = await asyncio.to_thread(self._read, number)
            for attempt in range(_ATTEMPTS):
                try:
                    tag = await self._client.put_part(address, content)
                except (UnreachableError, StoreRefusedError):
                    if attempt == _ATTEMPTS - 1:
                        raise
                    # The address may have expired while others were sent: a fresh one does no harm.
                    await asyncio.sleep(2**attempt / 2)
                    address = (await self._client.part_addresses(upload_id, [number]))[number]
                else:
                    self._sent(len(content))
                    return tag
        raise AssertionError("not reached: the last attempt raises")

    def _read(self, number: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek((number - 1) * self._part)
            return file.read(self._part)

    def _length(self, number: int) -> int:
        return min(self._part, self._size - (number - 1) * self._part)
