"""`medialane assets`: list, show, download, process again and delete assets, by the API."""

from datetime import datetime
from uuid import UUID

import click
import msgspec

from cli.asset_acts import cancel_asset, remove_asset
from cli.asset_check import verify_assets
from cli.client import Asset, AssetPage, MedialaneClient
from cli.common.ages import WHEN
from cli.common.door import ask, with_door
from cli.common.entries import with_about
from cli.common.groups import Commands
from cli.common.numbers import Finite
from cli.download import download


@click.group(cls=Commands)
def assets() -> None:
    """A tenant's assets, as its API key shows them; `cancel`, `remove` and `verify` are for operators."""


assets.add_command(cancel_asset)
assets.add_command(download)
assets.add_command(remove_asset)
assets.add_command(verify_assets)


@assets.command("ls")
@with_door
@click.option("--state", help="Only assets in this state.")
@click.option("--kind", type=click.Choice(["image", "video", "audio"]), help="Only assets of this kind.")
@with_about("Only assets with this tag; of several, with all.", "Only assets with this entry; of several, with all.")
@click.option("--since", type=WHEN, metavar="AGE", help="Only assets made since: 12h, 30d, an ISO date.")
@click.option("--before", type=WHEN, metavar="AGE", help="Only assets made before: the same.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most assets.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, with each asset's variants.")
def listing(
    url: str, key: str, *, state: str | None, kind: str | None, tags: tuple[str, ...],
    metadata: dict[str, str], since: datetime | None, before: datetime | None, limit: int, as_json: bool,
) -> None:  # fmt: skip
    """List assets, newest first."""

    async def work(client: MedialaneClient) -> tuple[list[Asset], bool]:
        found: list[Asset] = []
        page: AssetPage | None = None
        while len(found) < limit and (page is None or page.next_cursor):
            cursor = page.next_cursor if page else None
            page = await client.assets(
                limit=min(100, limit - len(found)), cursor=cursor, state=state, kind=kind, tags=tags,
                metadata=metadata, created_from=since, created_to=before, variants=as_json,
            )  # fmt: skip
            found += page.items
        return found, page is not None and page.next_cursor is not None

    found, more = ask(url, key, work)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    for asset in found:
        made = f"{asset.created_at:%Y-%m-%d %H:%M}"
        click.echo(f"{asset.id}  {made}  {asset.state:<10}  {asset.size:>12,}  {asset.file_name}")
    if not found:
        click.echo("no assets", err=True)
    if more:
        click.echo(f"the newest {limit}: --limit shows more", err=True)


@assets.command()
@click.argument("asset_id", type=click.UUID)
@with_door
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def show(asset_id: UUID, url: str, key: str, as_json: bool) -> None:
    """Show the asset ASSET_ID: state, variants with their addresses, timeline."""
    asset = ask(url, key, lambda client: client.asset(asset_id))
    if as_json:
        click.echo(msgspec.json.encode(asset).decode())
        return
    click.echo(f"{asset.id}  {asset.state}  {asset.content_type}  {asset.size:,} bytes  {asset.file_name}")
    if asset.created_by:
        click.echo(f"  by {asset.created_by}")
    if asset.error_code:
        click.echo(f"  {asset.error_code}: {asset.error_detail or ''}")
    for variant in asset.variants:
        click.echo(f"  {variant.profile:<16} {variant.width}x{variant.height}  {variant.size:,} bytes  {variant.url}")
    for entry in asset.timeline:
        click.echo(f"  {entry.seq:>4}  {entry.time:%H:%M:%S.%f}  {entry.type} {entry.subject}".rstrip())


@assets.command()
@click.argument("asset_id", type=click.UUID)
@with_door
@click.option("--wait", is_flag=True, help="Wait until every job of it has ended; exit code 1 if it is not ready then.")
@click.option("--timeout", "timeout_s", type=Finite(min=1), default=600.0, show_default=True,
              help="Longest wait, seconds.")  # fmt: skip
def process(asset_id: UUID, url: str, key: str, wait: bool, timeout_s: float) -> None:
    """Process ASSET_ID again: one that failed or was cancelled, or a ready one with the profiles of today.

    What was made of it already is used again. Refused while it is under way.
    """

    async def work(client: MedialaneClient) -> Asset:
        await client.process_asset(asset_id)
        return await client.wait_settled(asset_id, timeout_s=timeout_s) if wait else await client.asset(asset_id)

    asset = ask(url, key, work)
    click.echo(f"{asset.id}  {asset.state}  {asset.file_name}")


@assets.command()
@click.argument("asset_ids", nargs=-1, required=True, type=click.UUID, metavar="ASSET_ID...")
@with_door
@click.option("--yes", is_flag=True, help="Delete; without this, only say what would be.")
def delete(asset_ids: tuple[UUID, ...], url: str, key: str, yes: bool) -> None:
    """Delete assets with everything that was made of them. Nothing is deleted without --yes."""

    async def work(client: MedialaneClient) -> None:
        for asset_id in asset_ids:
            asset = await client.asset(asset_id)
            if yes:
                await client.delete_asset(asset_id)
            told = "deleted" if yes else "would delete"
            click.echo(f"{told} {asset_id}  {asset.state}  {asset.file_name}, {len(asset.variants)} variants")

    ask(url, key, work)
    if not yes:
        click.echo("Nothing was deleted: say --yes.", err=True)
