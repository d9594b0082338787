"""`medialane assets download`: an upload, or what was made of it, as a file that is there whole or not at all."""

import sys
import time
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Self
from uuid import UUID

import click
from rich.console import Console
from rich.progress import TaskID
from yarl import URL

from cli.client import AssetVariant, ClientError, MedialaneClient, NotFoundError
from cli.common.door import ask, with_door
from cli.common.transfers import transfers

_ORIGINAL = "original"
_SHOWN_AFTER_S = 2.0


class _Source(NamedTuple):
    """What is to be had: by which address, called what, how many bytes, and with which SHA-256 if that is known."""

    url: str
    name: str
    size: int
    sha256: str | None = None


@click.command("download")
@click.argument("asset_id", type=click.UUID)
@click.argument("profile", default=_ORIGINAL)
@with_door
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="A file, which is replaced, or a folder. Default: named after the asset, in this folder, replacing nothing.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress bar.")
def download(asset_id: UUID, profile: str, url: str, key: str, *, output: Path | None, quiet: bool) -> None:
    """Save PROFILE of the asset ASSET_ID: a variant, or `original`, the upload itself, which is the default.

    Prints where it was saved. Of `hls` and `storyboard` that is the playlist alone, without what it names. The exit
    code is 0 if the file is there whole, 1 if there is none; one that was replaced then is as it was.
    """

    async def work(client: MedialaneClient) -> Path:
        source = await _source(client, asset_id, profile)
        path = _path(output, source.name)
        with _Bar(source.name, source.size, quiet=quiet) as bar:
            await client.save(source.url, path, size=source.size, sha256=source.sha256, got=bar.got)
        return path

    try:
        saved = ask(url, key, work)
    except OSError as error:
        click.echo(f"medialane: {error}", err=True)
        sys.exit(1)
    click.echo(str(saved))


async def _source(client: MedialaneClient, asset_id: UUID, profile: str) -> _Source:
    if profile == _ORIGINAL:
        original = await client.original(asset_id)
        return _Source(original.url, _plain(original.file_name), original.size)
    asset = await client.asset(asset_id)
    variant = next((each for each in asset.variants if each.profile == profile), None)
    if variant is None:
        variant = await _picture(client, asset_id, profile, [each.profile for each in asset.variants])
    name = PurePosixPath(_plain(asset.file_name)).stem + f".{profile}{PurePosixPath(URL(variant.url).name).suffix}"
    return _Source(variant.url, name, variant.size, variant.sha256)


async def _picture(client: MedialaneClient, asset_id: UUID, name: str, profiles: list[str]) -> AssetVariant:
    """A picture that is there under the names of its formats alone, in the one that everything can show."""
    try:
        return await client.variant(asset_id, name)
    except NotFoundError as error:
        there = ", ".join([_ORIGINAL, *profiles])
        raise ClientError(f"asset {asset_id} has no {name}; there are {there}") from error


def _plain(file_name: str) -> str:
    """The name alone: whoever uploaded it does not choose the folder, nor a file that is hidden there."""
    name = PurePosixPath(file_name.replace("\\", "/")).name.lstrip(".")
    return "".join(each if each.isprintable() else "_" for each in name) or _ORIGINAL


def _path(output: Path | None, name: str) -> Path:
    if output is not None and not output.is_dir():
        if str(output) == "-" or (output.exists() and not output.is_file()):
            raise ClientError(f"{output} is no file")  # a device would be replaced by one
        return output
    path = (output or Path()) / name
    if path.exists():
        raise ClientError(f"{path} is there already; say another with --output")
    return path


class _Bar:
    """A progress bar for who has waited for a while."""

    def __init__(self, name: str, size: int, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._progress = transfers(console, disable=quiet or not console.is_terminal)
        self._task: TaskID = self._progress.add_task(name, total=size)
        self._shown_at = time.monotonic() + _SHOWN_AFTER_S
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def got(self, count: int) -> None:
        """So many more bytes."""
        self._progress.update(self._task, advance=count)
        if not self._shown and time.monotonic() >= self._shown_at:
            self._shown = True
            self._progress.start()
