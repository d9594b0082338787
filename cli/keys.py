"""`medialane keys`: mint, rotate, list and revoke API keys."""

from datetime import UTC, datetime, timedelta

import click
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from cli.common.database import in_transaction
from cli.common.groups import Commands
from cli.common.numbers import MOST_DAYS, MOST_ROWS, Finite
from connectors.postgres import audit
from connectors.postgres.accounts.keys import KeyInfo, MintedKey, find_key, list_keys, mint_key, revoke_key, rotate_key
from connectors.postgres.accounts.tenants import find_tenant
from schemas.errors import ErrorCode, MedialaneError
from schemas.scopes import DEFAULT_SCOPES, Scope


@click.group(cls=Commands)
def keys() -> None:
    """API keys of a tenant.

    The database is the one that MEDIALANE_DATABASE_URL names, under the worker role.
    """


@keys.command()
@click.argument("tenant")
@click.option("--name", default="", help="What the key is for.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it may do; may be given more than once. Default: assets, webhooks and profiles.",
)
@click.option("--days", type=Finite(0, MOST_DAYS, min_open=True), help="Days until it expires. Default: never.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with id, prefix and key.")
def mint(tenant: str, name: str, scopes: tuple[str, ...], days: float | None, as_json: bool) -> None:
    """Make a key for TENANT (its slug) and print it, once: it cannot be had again."""
    granted = tuple(Scope(scope) for scope in scopes) or DEFAULT_SCOPES
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None

    async def work(connection: AsyncConnection) -> MintedKey:
        found = await find_tenant(connection, tenant)
        made = await mint_key(connection, found.id, name=name, scopes=granted, expires_at=expires_at)
        await audit.note(
            connection, actor=audit.operator(), action="key.mint", tenant_id=found.id, subject=made.prefix,
            detail={"scopes": list(granted)},
        )  # fmt: skip
        return made

    key = in_transaction(work)
    if as_json:
        body = {"id": key.id, "prefix": key.prefix, "key": key.text, "scopes": granted, "expires_at": expires_at}
        click.echo(msgspec.json.encode(body).decode())
        return
    click.echo(key.text)
    click.echo(f"This key of {tenant} is not shown again. Revoke it with: medialane keys revoke {key.prefix}", err=True)


@keys.command("ls")
@click.argument("tenant")
@click.option(
    "--limit", type=click.IntRange(1, MOST_ROWS), default=200, show_default=True, help="Most keys, newest first."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def listing(tenant: str, limit: int, as_json: bool) -> None:
    """List the keys of TENANT (its slug), newest first, without their secrets.

    Those that were revoked or have expired are among them until the keeper deletes them.
    """

    async def work(connection: AsyncConnection) -> tuple[KeyInfo, ...]:
        return await list_keys(connection, (await find_tenant(connection, tenant)).id, limit=limit)

    found = in_transaction(work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for key in found:
        click.echo(f"{key.prefix}  {_state(key, datetime.now(UTC)):<8}  {','.join(key.scopes)}  {key.name}".rstrip())


@keys.command()
@click.argument("prefix")
@click.option(
    "--overlap-hours",
    type=Finite(0, MOST_DAYS * 24),
    default=24.0,
    show_default=True,
    help="How long the old one goes on.",
)
@click.option(
    "--days",
    type=Finite(0, MOST_DAYS, min_open=True),
    help="Days until the new one expires. Default: as the old one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with id, prefix and key.")
def rotate(prefix: str, overlap_hours: float, days: float | None, as_json: bool) -> None:
    """Follow the key with PREFIX by a new one with the same name and scopes, and print that, once."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None

    async def work(connection: AsyncConnection) -> MintedKey:
        tenant_id, key_id = await find_key(connection, prefix)
        made = await rotate_key(connection, tenant_id, key_id, overlap_s=overlap_hours * 3600, expires_at=expires_at)
        if made is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        await audit.note(
            connection, actor=audit.operator(), action="key.rotate", tenant_id=tenant_id, subject=prefix,
            detail={"prefix": made.prefix, "overlap": overlap_hours * 3600},
        )  # fmt: skip
        return made

    key = in_transaction(work)
    if as_json:
        body = {"id": key.id, "prefix": key.prefix, "key": key.text, "scopes": key.scopes, "expires_at": key.expires_at}
        click.echo(msgspec.json.encode(body).decode())
        return
    click.echo(key.text)
    click.echo(f"This key is not shown again. {prefix} goes on for {overlap_hours:g} hours.", err=True)


@keys.command()
@click.argument("prefix")
def revoke(prefix: str) -> None:
    """Make the key with PREFIX (mp_PREFIX_...) useless, for good."""

    async def work(connection: AsyncConnection) -> None:
        tenant_id, _ = await find_key(connection, prefix)
        await revoke_key(connection, prefix)
        await audit.note(connection, actor=audit.operator(), action="key.revoke", tenant_id=tenant_id, subject=prefix)

    in_transaction(work)
    click.echo(f"Key {prefix} is revoked; every API process follows within seconds.", err=True)


def _state(key: KeyInfo, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"
