"""`medialane reprocess`: make a profile's present version for assets that lack it, behind everything fresh."""

import asyncio
import os
from datetime import datetime
from typing import Any
from uuid import UUID

import click

from cli.common.ages import WHEN, Pace
from cli.common.database import worker_database
from connectors.postgres import audit
from connectors.postgres.accounts.profile_sets import read_choice
from connectors.postgres.accounts.tenants import find_tenant, list_tenants
from connectors.postgres.database import Database
from connectors.postgres.protocol import replay
from schemas.errors import ErrorCode, MedialaneError
from schemas.profile_sets import default_choice, resolve
from schemas.profiles import CATALOGUE, Profile
from schemas.settings import ProfileSettings, load
from schemas.states import JobClass

_PROFILES = CATALOGUE
_LOOK_AT = 2000


@click.command()
@click.option("--profile", type=click.Choice(list(_PROFILES)), required=True, help="Which variant is to be made.")
@click.option("--since", type=WHEN, metavar="AGE", required=True, help="Assets made since: 12h, 30d, an ISO date.")
@click.option("--tenant", help="Only of this tenant (its slug).")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), default=50.0, show_default=True, help="A second.")
@click.option("--limit", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="Most assets.")
@click.option("--dry-run", is_flag=True, help="Count the assets, and change nothing.")
def reprocess(profile: str, since: datetime, tenant: str | None, rate: float, limit: int, dry_run: bool) -> None:
    """Open a new generation of every ready asset that lacks the present version of a profile.

    What exists of the other profiles is used again. The jobs are of the bulk class: they use at most an eighth of their
    tenant's credit. Run again, it takes up what is left.

    What tenants lack that chose no profiles is said by MEDIALANE_PROFILES_DEFAULT, which has to be here what it is for
    the workers.
    """
    done, left = asyncio.run(_reprocess(_PROFILES[profile], since, tenant, rate, limit, dry_run=dry_run))
    if dry_run:
        click.echo(f"would reprocess {done} assets for {profile} version {_PROFILES[profile].version}")
    else:
        click.echo(f"reprocessing {done} assets, left alone {left}")


async def _reprocess(
    profile: Profile, since: datetime, tenant: str | None, rate: float, limit: int, *, dry_run: bool
) -> tuple[int, int]:
    by_default = profile in resolve(default_choice(load(ProfileSettings, os.environ)))
    async with worker_database() as database:
        async with database.transaction() as connection:
            tenant_id = None if tenant is None else (await find_tenant(connection, tenant)).id
            tenants = [one.id for one in await list_tenants(connection)] if tenant_id is None else [tenant_id]
        found: list[UUID] = []
        for one in tenants:
            if await _wants(database, one, profile, by_default=by_default):
                found += await _find(database, one, profile, since, limit - len(found))
        if dry_run:
            return len(found), 0
        detail = {"profile": profile.name, "version": profile.version, "since": since.isoformat()}
        await _note(database, "reprocess", tenant_id, detail | {"assets": len(found)})
        pace, done = Pace(rate, len(found)), 0
        for asset_id in sorted(found):  # by age, whoever's they are
            await pace.step()
            done += await _reopen(database, asset_id, profile)
        await _note(database, "reprocess.end", tenant_id, detail | {"assets": done})
    return done, len(found) - done


async def _find(database: Database, tenant_id: UUID, profile: Profile, since: datetime, limit: int) -> list[UUID]:
    found: list[UUID] = []
    place: replay.Place | None = replay.Place(since)
    while place is not None and len(found) < limit:
        async with database.transaction() as connection:
            page = await replay.assets_behind(connection, tenant_id, profile, place=place, look_at=_LOOK_AT)
        found.extend(page.assets)
        place = page.next
    return found[:limit]


async def _wants(database: Database, tenant_id: UUID, profile: Profile, *, by_default: bool) -> bool:
    """Whether a tenant's choice has the profile in it: to others, nothing is missing."""
    async with database.transaction() as connection:
        choice = await read_choice(connection, tenant_id)
    return by_default if choice is None else any(chosen.name == profile.name for chosen in choice.profiles)


async def _reopen(database: Database, asset_id: UUID, profile: Profile) -> bool:
    try:
        async with database.transaction() as connection:
            await replay.replay_asset(
                connection, asset_id, reason=f"reprocess {profile.name} v{profile.version}", job_class=JobClass.BULK
            )
    except MedialaneError as error:
        if error.code not in (ErrorCode.CONFLICT, ErrorCode.NOT_FOUND):
            raise
        click.echo(f"{asset_id}  left alone: {error.detail}", err=True)
        return False
    return True


async def _note(database: Database, action: str, tenant_id: UUID | None, detail: dict[str, Any]) -> None:
    async with database.transaction() as connection:
        await audit.note(connection, actor=audit.operator(), action=action, tenant_id=tenant_id, detail=detail)
