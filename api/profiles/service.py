"""A tenant's choice of profiles, read and changed, and what an upload may name of it."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from api.noting import note
from api.profiles.models import ProfileOut, ProfilesOut
from connectors.postgres.accounts.keys import Principal
from connectors.postgres.accounts.profile_sets import read_choice, save_choice
from connectors.postgres.assets.lifecycle import NewAsset
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.kept_choices import KeptChoice
from schemas.profile_sets import ProfileChoice, ProfileChoiceError, check_named, resolve
from schemas.profiles import PROFILE_SETS, Profile


class ProfileService:
    """Reads and saves choices; `default` is what tenants have that never chose."""

    def __init__(self, database: Database, *, default: ProfileChoice) -> None:
        self._database = database
        self._default = KeptChoice(default, resolve(default))

    async def read(self, tenant_id: UUID) -> ProfilesOut:
        """The tenant's choice, or the default."""
        kept = await self._choice(tenant_id)
        return _out(kept.choice, kept.profiles)

    async def admit(self, tenant_id: UUID, asset: NewAsset) -> None:
        """Whether an upload may name the profiles that it names. Raises `MedialaneError(profiles_refused)`."""
        if asset.profiles is None:
            return
        try:
            kept = await self._choice(tenant_id)
            # What a newer release has let the tenant choose, its workers judge.
            if not kept.asks_beyond(asset.kind, asset.profiles):
                check_named(kept.profiles, asset.kind, asset.profiles)
        except ProfileChoiceError as error:
            raise MedialaneError(ErrorCode.PROFILES_REFUSED, error.detail, field=error.field) from error

    async def save(self, who: Principal, choice: ProfileChoice) -> ProfilesOut:
        """Replace the choice. Raises `MedialaneError(invalid_request)` for one that cannot be kept."""
        try:
            answer = _out(choice, resolve(choice))
        except ProfileChoiceError as error:
            raise MedialaneError(ErrorCode.INVALID_REQUEST, error.detail, field=error.field) from error
        async with self._database.tenant(who.tenant_id) as connection:
            await save_choice(connection, who.tenant_id, choice)
            await note(connection, who, "profiles.set", "", msgspec.to_builtins(choice))
        return answer

    async def _choice(self, tenant_id: UUID) -> KeptChoice:
        async with self._database.tenant(tenant_id) as connection:
            return await read_choice(connection, tenant_id) or self._default


def _out(choice: ProfileChoice, profiles: Iterable[Profile]) -> ProfilesOut:
    return ProfilesOut(
        include=choice.include,
        own=choice.own,
        profiles=tuple(_shown(profile) for profile in profiles),
        sets={name: tuple(profile.name for profile in profiles) for name, profiles in PROFILE_SETS.items()},
    )


def _shown(profile: Profile) -> ProfileOut:
    return ProfileOut(**{name: getattr(profile, name) for name in ProfileOut.__struct_fields__})
