"""Whether the bucket is this installation's: an object in it says whose it is, and a row of the database who we are.

Whoever is given another's bucket, or another's database, would take each object there for an orphan, and each upload
for one whose object is gone. So nothing is removed, and nothing given up as gone, before the two were compared.
"""

import hashlib
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import UUID

from connectors.objectstore.port import ObjectStore
from connectors.postgres.assets import installation
from connectors.postgres.assets.installation import Installation
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError

MARK = ".medialane-installation"
"""The key of the object that names the installation; under none of `ROOTS`."""

ROOTS = ("media/", "uploads/")
"""Where all other objects are, in the order of keys."""

_LONGEST = 64
_CURE = (
    "Set MEDIALANE_DATABASE_URL and MEDIALANE_S3_* to what belongs together; if this bucket is to be this database's, "
    "`medialane uploads adopt-bucket` marks it."
)


class ForeignBucketError(MedialaneError):
    """The bucket is not this installation's, or not known to be; the detail says whose it is, and what to do."""

    def __init__(self, why: str) -> None:
        super().__init__(ErrorCode.OBJECT_STORE_UNAVAILABLE, f"This bucket is not this installation's: {why}. {_CURE}")


class Bucket:
    """The bucket of a store as the one of a database."""

    def __init__(self, database: Database, store: ObjectStore) -> None:
        self._database = database
        self._store = store

    async def check(self, *, patient: bool = False) -> None:
        """Return if the bucket can be reached and is not known to be another's; `patient` as with a store.

        Raises `MedialaneError`: what is away, or `ForeignBucketError`. Changes nothing.
        """
        await self._store.check(patient=patient)
        await self._compared(patient=patient)

    async def confirm(self) -> None:
        """Return if the bucket is this installation's; one that bears no mark is marked, if there is no doubt.

        Raises `ForeignBucketError`, or another `MedialaneError` in an outage: remove nothing then.
        """
        ours, borne = await self._compared()
        if borne is None:
            async with self._database.transaction() as connection:
                used = await installation.is_used(connection)
            if not used and await self._holds_objects():
                raise ForeignBucketError(f"it holds objects, and installation {ours.id} knows of no completed upload")
            await self._mark(ours)
        elif not ours.marked:
            await self._note_marked()

    async def adopt(self) -> UUID:
        """Mark the bucket as this installation's, whatever it bears; returns our id."""
        ours = await self._installation()
        await self._store.delete(MARK)
        await self._mark(ours)
        return ours.id

    async def bears(self, *, patient: bool = False) -> str | None:
        """The id of the installation that the bucket is marked as, None if it is not marked."""
        found = await self._store.peek(MARK, _LONGEST, patient=patient)
        return None if found is None else found[1].decode(errors="replace").strip()

    async def _compared(self, *, patient: bool = False) -> tuple[Installation, str | None]:
        """Who we are, and what the bucket bears, which does not contradict it."""
        ours, borne = await self._installation(), await self.bears(patient=patient)
        _compare(ours, borne)
        return ours, borne

    async def _installation(self) -> Installation:
        async with self._database.transaction() as connection:
            return await installation.read(connection)

    async def _note_marked(self) -> None:
        async with self._database.transaction() as connection:
            await installation.note_marked(connection)

    async def _holds_objects(self) -> bool:
        for root in ROOTS:
            if await self._store.list_page(root):
                return True
        return False

    async def _mark(self, ours: Installation) -> None:
        text = str(ours.id).encode()
        with NamedTemporaryFile() as file:
            file.write(text)
            file.flush()
            # Only where nothing stands: of two that mark at once, one does.
            await self._store.put_file(MARK, Path(file.name), "text/plain", hashlib.sha256(text).hexdigest())
        _compare(Installation(ours.id, marked=True), await self.bears())
        await self._note_marked()


def _compare(ours: Installation, borne: str | None) -> None:
    if borne is None and ours.marked:
        raise ForeignBucketError(f"it bears no mark, and installation {ours.id} has marked its own")
    if borne not in {None, str(ours.id)}:
        raise ForeignBucketError(f"it is marked as {borne}'s, and the database is that of installation {ours.id}")
