"""Ends uploads in parts that hold more than was announced: no signature bounds a part, as nobody has said its length.

Only the parts go. The asset stays as it is, with its place and its room, until its time is over.
"""

from uuid import UUID

import structlog

from connectors.objectstore.port import SMALLEST_PART, ObjectStore
from connectors.postgres import audit
from connectors.postgres.database import Database
from connectors.postgres.open_parts import OpenUpload, find_open
from streams.bucket import Bucket
from streams.keeper.outages import again

log = structlog.get_logger(__name__)

_INTERVAL_S = 60.0
_PAGE = 200  # in a round: each is a request to the store
_FIRST = UUID(int=0)


class OversizedUploads:
    """Looks at some open uploads once a minute, the next ones each time, until cancelled."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store
        self._bucket = Bucket(database, store)
        self._after = _FIRST

    async def run(self) -> None:
        """Look for ever."""
        await again(self.look, pause_s=_INTERVAL_S, failed="open uploads were not looked at")

    async def look(self) -> int:
        """One round; returns how many uploads it ended."""
        async with self._database.transaction() as connection:
            found = await find_open(connection, after=self._after, limit=_PAGE)
        ended = 0
        for upload in found:
            self._after = upload.id  # before the store is asked: one that it cannot tell must not stop the others' turn
            ended += await self._end(upload)
        if len(found) < _PAGE:
            self._after = _FIRST
        return ended

    async def _end(self, upload: OpenUpload) -> bool:
        parts = await self._store.list_parts(upload.object_key, upload.upload_id)
        held = sum(part.size for part in parts or ())
        if held <= upload.size + SMALLEST_PART:
            return False
        await self._bucket.confirm()
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
