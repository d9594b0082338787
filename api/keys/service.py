"""Minting, listing, revoking and rotating a tenant's keys. Nobody can hand on more than they hold, nor for longer."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from api.cursors import position_cursor, position_in
from api.idempotency import Keep
from api.keys.models import KeyMade, KeyOut, KeyPage, KeyRequest, RotationRequest
from api.noting import note
from connectors.postgres.accounts.keys import (
    MintedKey,
    Principal,
    earliest,
    list_keys,
    mint_key,
    revoke_own_key,
    rotate_key,
)
from connectors.postgres.database import Database
from connectors.postgres.paging import Position
from schemas.errors import ErrorCode, MedialaneError
from schemas.scopes import Scope, permits


class KeyService:
    """Keeps a tenant's keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def mint(self, who: Principal, wanted: KeyRequest, keep: Keep[KeyMade]) -> KeyMade:
        """Make a key, which ends with the caller's at the latest.

        Raises `MedialaneError`: forbidden for a scope that the caller has not, quota_exceeded.
        """
        _check(who, wanted.scopes)
        async with self._database.tenant(who.tenant_id) as connection:
            made = await mint_key(
                connection,
                who.tenant_id,
                name=wanted.name,
                scopes=tuple(dict.fromkeys(wanted.scopes)),
                expires_at=earliest(_end(wanted.expires_in), who.expires_at),
            )
            await note(connection, who, "key.mint", made.prefix, {"scopes": list(made.scopes)})
            shown = _shown(made)
            await keep(connection, shown)
        return shown

    async def list(self, who: Principal, limit: int, cursor: str | None) -> KeyPage:
        """A page of the tenant's keys. Raises `MedialaneError(invalid_request)` for a cursor that is none."""
        before = position_in(cursor) if cursor is not None else None
        async with self._database.tenant(who.tenant_id) as connection:
            found = await list_keys(connection, who.tenant_id, limit=limit + 1, before=before)
        page = found[:limit]
        more = len(found) > limit
        return KeyPage(
            data=tuple(KeyOut(**msgspec.structs.asdict(key)) for key in page),
            next_cursor=position_cursor(Position(page[-1].created_at, page[-1].id)) if more else None,
        )

    async def revoke(self, who: Principal, key_id: UUID) -> None:
        """Make a key useless, for good. Raises `MedialaneError(not_found)`."""
        async with self._database.tenant(who.tenant_id) as connection:
            done = await revoke_own_key(connection, who.tenant_id, key_id)
            if done is None:
                raise MedialaneError(ErrorCode.NOT_FOUND)
            if done:
                await note(connection, who, "key.revoke", key_id, {})

    async def rotate(self, who: Principal, key_id: UUID, wanted: RotationRequest, keep: Keep[KeyMade]) -> KeyMade:
        """A new key like an old one, which ends after the overlap. It lives as long, if nothing else is wanted.

        Raises `MedialaneError`: not_found, conflict for a key that ended or was rotated, forbidden if it may do more
        than the caller, quota_exceeded if the two would be one too many.
        """
        async with self._database.tenant(who.tenant_id) as connection:
            made = await rotate_key(
                connection,
                who.tenant_id,
                key_id,
                overlap_s=wanted.overlap,
                expires_at=_end(wanted.expires_in),
                at_most=who.expires_at,
            )
            if made is None:
                raise MedialaneError(ErrorCode.NOT_FOUND)
            _check(who, (Scope(scope) for scope in made.scopes))  # raised in here, it takes the rotation back
            await note(connection, who, "key.rotate", key_id, {"prefix": made.prefix, "overlap": wanted.overlap})
            shown = _shown(made)
            await keep(connection, shown)
        return shown


def _check(who: Principal, scopes: Iterable[Scope]) -> None:
    for scope in scopes:
        if not permits(who.scopes, scope):
            detail = f"You have no scope {scope.value} yourself."
            raise MedialaneError(ErrorCode.FORBIDDEN, detail, field="scopes")


def _end(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)


def _shown(made: MintedKey) -> KeyMade:
    return KeyMade(
        id=made.id,
        prefix=made.prefix,
        key=made.text,
        scopes=made.scopes,
        created_at=made.created_at,
        expires_at=made.expires_at,
    )
