"""`medialane reprocess`: make a profile's present version for assets that lack it, behind everything fresh."""

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import click

from cli.common.ages import WHEN, Pace
from cli.common.database import worker_database
from cli.common.numbers import Finite
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

_LOOK_AT = 2000


@click.command()
@click.option("--profile", metavar="NAME", required=True, help="Of which profile, ours or a tenant's own.")
@click.option("--since", type=WHEN, metavar="AGE", required=True, help="Assets made since: 12h, 30d, an ISO date.")
@click.option("--tenant", help="Only of this tenant (its slug).")
@click.option("--rate", type=Finite(min=0, min_open=True), default=50.0, show_default=True, help="A second.")
@click.option("--limit", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="Most assets.")
@click.option("--dry-run", is_flag=True, help="Count the assets, and change nothing.")
def reprocess(profile: str, since: datetime, tenant: str | None, rate: float, limit: int, dry_run: bool) -> None:
    """Open a new generation of every ready asset that lacks the present version of a profile.

    Each tenant's choice says what that is: one without a profile of the name is passed over, and one of its own is made
    as it is now. What exists of the other profiles is used again. The jobs are of the bulk class: they use at most
    an eighth of their tenant's credit. Run again, it takes up what is left.

    What tenants lack that chose no profiles is said by MEDIALANE_PROFILES_DEFAULT, which has to be here what it is for
    the workers.
    """
    done, left = asyncio.run(_reprocess(profile, since, tenant, rate, limit, dry_run=dry_run))
    if dry_run:
        version = f" version {CATALOGUE[profile].version}" if profile in CATALOGUE else ""
        click.echo(f"would reprocess {done} assets for {profile}{version}")
    else:
        click.echo(f"reprocessing {done} assets, left alone {left}")


class _Wanted(NamedTuple):
    """A tenant, and what it calls by the name that was asked for."""

    tenant_id: UUID
    profile: Profile


async def _reprocess(
    name: str, since: datetime, tenant: str | None, rate: float, limit: int, *, dry_run: bool
) -> tuple[int, int]:
    by_default = resolve(default_choice(load(ProfileSettings, os.environ)))
    async with worker_database() as database:
        async with database.transaction() as connection:
            tenant_id = None if tenant is None else (await find_tenant(connection, tenant)).id
            tenants = [one.id for one in await list_tenants(connection)] if tenant_id is None else [tenant_id]
        found: list[tuple[UUID, Profile]] = []
        wanted = await _wanted(database, tenants, name, by_default)
        for one in wanted:
            assets = await _find(database, one.tenant_id, one.profile, since, limit - len(found))
            found += [(asset_id, one.profile) for asset_id in assets]
        if dry_run:
            return len(found), 0
        versions = sorted({one.profile.version for one in wanted})
        version = versions[0] if len(versions) == 1 else None  # each tenant's own
        detail = {"profile": name, "version": version, "since": since.isoformat()}
        await _note(database, "reprocess", tenant_id, detail | {"assets": len(found)})
        pace, done = Pace(rate, len(found)), 0
        for asset_id, profile in sorted(found, key=itemgetter(0)):  # by age, whoever's they are
            await pace.step()
            done += await _reopen(database, asset_id, profile)
        await _note(database, "reprocess.end", tenant_id, detail | {"assets": done})
    return done, len(found) - done


async def _wanted(
    database: Database, tenants: Sequence[UUID], name: str, by_default: Sequence[Profile]
) -> list[_Wanted]:
    """Those whose choice has a profile of this name in it: to others, nothing is missing.

    Raises `click.BadParameter` for a name that is neither ours nor any of these tenants'.
    """
    wanted, there = [], dict.fromkeys(CATALOGUE)
    for tenant_id in tenants:
        async with database.transaction() as connection:
            choice = await read_choice(connection, tenant_id)
        for profile in by_default if choice is None else choice.profiles:
            there[profile.name] = None
            if profile.name == name:
                wanted.append(_Wanted(tenant_id, profile))
    if name not in there:
        raise click.BadParameter(f"There is no profile {name!r}; there are {', '.join(there)}.", param_hint="--profile")
    return wanted


async def _find(database: Database, tenant_id: UUID, profile: Profile, since: datetime, limit: int) -> list[UUID]:
    found: list[UUID] = []
    place: replay.Place | None = replay.Place(since)
    while place is not None and len(found) < limit:
        async with database.transaction() as connection:
            page = await replay.assets_behind(connection, tenant_id, profile, place=place, look_at=_LOOK_AT)
        found.extend(page.assets)
        place = page.next
    return found[:limit]


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
