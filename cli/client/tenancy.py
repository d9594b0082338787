"""The client's own tenant: its API keys, what is made of its uploads, and what it used."""

from collections.abc import Sequence
from uuid import UUID

from cli.client.tenant_models import Key, OwnProfile, Profiles, Usage
from cli.client.wire import Wire, given


class Tenancy(Wire):
    """What a tenant says once, and what it is told of itself."""

    async def keys(self) -> list[Key]:
        """The tenant's API keys, newest first, without their secrets: all pages of them, ended ones too."""
        found: list[Key] = []
        query: dict[str, str] = {}
        while True:
            answer = await self._call("GET", "/keys", query=query)
            found += answer.data(list[Key])
            if not (cursor := answer.envelope.get("nextCursor")):
                return found
            query = {"cursor": cursor}

    async def mint_key(
        self, scopes: Sequence[str], *, name: str = "", expires_in_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Key:  # fmt: skip
        """Make an API key; the answer holds it, once."""
        body = given(scopes=list(scopes), name=name, expiresIn=expires_in_s)
        return (await self._call("POST", "/keys", body, idempotency_key=idempotency_key)).data(Key)

    async def rotate_key(
        self, key_id: UUID, *, overlap_s: int = 86_400, expires_in_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> Key:  # fmt: skip
        """Follow a key by a new one; the old one goes on for the overlap.

        The new one ends when the old one would have, unless `expires_in_s` says otherwise, and never after the key that
        makes it.
        """
        body = given(overlap=overlap_s, expiresIn=expires_in_s)
        return (await self._call("POST", f"/keys/{key_id}/rotate", body, idempotency_key=idempotency_key)).data(Key)

    async def revoke_key(self, key_id: UUID) -> None:
        """Make a key useless, for good."""
        await self._call("DELETE", f"/keys/{key_id}")

    async def profiles(self) -> Profiles:
        """What is made of uploads."""
        return (await self._call("GET", "/profiles")).data(Profiles)

    async def choose_profiles(self, include: Sequence[str], *, own: Sequence[OwnProfile] = ()) -> Profiles:
        """What is to be made of uploads from now on: sets and profiles of the service by name, and the tenant's own."""
        body = {"include": list(include), "own": list(own)}
        return (await self._call("PUT", "/profiles", body)).data(Profiles)

    async def usage(self, *, days: int = 7) -> Usage:
        """Jobs, CPU seconds and bytes of the last days (35 at most), in all and by day."""
        return (await self._call("GET", "/usage", query={"days": str(days)})).data(Usage)
