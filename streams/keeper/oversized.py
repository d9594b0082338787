"""Ends uploads in parts that hold more than was announced: no signature bounds a part, as nobody has said its length.

Only the parts go. The asset stays as it is, with its place and its room, until its time is over. Tenants take turns, so
that one with very many open uploads does not delay the look at anybody else's.
"""

from collections.abc import Awaitable, Sequence
from itertools import islice
from typing import TypeVar
from uuid import UUID

import structlog

from connectors.objectstore.port import SMALLEST_PART, ObjectStore
from connectors.postgres import audit
from connectors.postgres.assets.open_parts import OpenUpload, find_open, whose_open
from connectors.postgres.database import Database
from streams.bucket import Bucket
from streams.keeper.outages import again, one_of_many

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0
_PAGE = 200  # in a round: each is a request to the store
_FIRST = UUID(int=0)

T = TypeVar("T")


class OversizedUploads:
    """Looks at some open uploads once a minute, the next ones each time, until cancelled."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store
        self._bucket = Bucket(database, store)
        self._after: dict[UUID, UUID] = {}  # of each tenant the last one; who waits longest stands first

    async def run(self) -> None:
        """Look for ever."""
        await again(self.look, pause_s=_INTERVAL_S, failed="open uploads were not looked at")

    async def look(self) -> int:
        """One round; returns how many uploads it ended."""
        async with self._database.transaction() as connection:
            whose = await whose_open(connection)
            self._after = self._in_turn(whose)
            turns = dict(islice(self._after.items(), _PAGE))
            found = await find_open(connection, after=turns, limit=_PAGE)
        ended = 0
        for upload in found:
            del self._after[upload.tenant_id]
            self._after[upload.tenant_id] = upload.id
            held = await self._passed_over(self._held(upload), upload)
            if held is None or held <= upload.size + SMALLEST_PART:
                continue
            await self._bucket.confirm()  # another's ends the round
            ended += bool(await self._passed_over(self._end(upload, held), upload))
        return ended

    async def _passed_over(self, act: Awaitable[T], upload: OpenUpload) -> T | None:
        failed = "an open upload was not looked at"
        return await one_of_many(act, self._database, self._store, failed, asset_id=str(upload.id))

    def _in_turn(self, whose: Sequence[UUID]) -> dict[UUID, UUID]:
        """Whose uploads are looked at first, and after which one: who waits longest, at last the new ones."""
        still = set(whose)
        waiting = {tenant_id: last for tenant_id, last in self._after.items() if tenant_id in still}
        return waiting | {tenant_id: _FIRST for tenant_id in whose if tenant_id not in waiting}

    async def _held(self, upload: OpenUpload) -> int:
        parts = await self._store.list_parts(upload.object_key, upload.upload_id)
        return sum(part.size for part in parts or ())

    async def _end(self, upload: OpenUpload, held: int) -> bool:
        await self._store.abort_multipart(upload.object_key, upload.upload_id)
        async with self._database.transaction() as connection:
            await audit.note(
                connection, actor="keeper", action="upload.abort", tenant_id=upload.tenant_id, subject=str(upload.id),
                detail={"announced": upload.size, "held": held},
            )  # fmt: skip
        log.warning(
            "parts of an upload hold more than was announced: they were removed", asset_id=str(upload.id),
            tenant_id=str(upload.tenant_id), announced=upload.size, held=held,
        )  # fmt: skip
        return True
