"""`medialane upload`: files to assets, several at a time, large ones in parts that survive an interruption."""

import asyncio
import hashlib
import json
import mimetypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from cli.client import Asset, AssetFailedError, ClientError, MedialaneClient, PartsUpload
from cli.client.parts import name_of
from cli.common.door import ask, with_door
from cli.common.entries import with_about
from cli.common.numbers import Finite
from cli.common.transfers import transfers

IN_PARTS_FROM = 64 << 20
"""Bytes from which a file is sent in parts."""

_FOLLOWED = 32  # assets at a time: each holds a connection, and files still have to be sent

_TYPES = {".heic": "image/heic", ".heif": "image/heif", ".avif": "image/avif", ".webp": "image/webp",
          ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".avi": "video/x-msvideo"}  # fmt: skip


class Outcome(NamedTuple):
    """What became of a file: its asset, or why there is none."""

    path: Path
    asset_id: UUID | None = None
    problem: str | None = None
    asset: Asset | None = None


class About(NamedTuple):
    """What is said of the files; `profiles` None: all of the tenant's."""

    metadata: Mapping[str, str]
    tags: tuple[str, ...]
    profiles: tuple[str, ...] | None


ABOUT_NOTHING = About({}, (), None)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_door
@click.option("--wait", is_flag=True, help="Wait until every asset is ready; failed ones make the exit code 1.")
@click.option("--settled", is_flag=True,
              help="As --wait, and on until all is made that comes after that, too: AVIF, HLS.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=Finite(min=1), default=600.0, show_default=True,
              help="Longest wait for one asset, seconds.")  # fmt: skip
@click.option("--parallel", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at a time.")
@click.option("--type", "content_type", help="Content type of all files. Default: by each name.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME",
    help="Make only this of the files; may be given several times. Default: all that the tenant has chosen.",
)
@with_about("Tag the assets with this; may be given several times.", "An entry of the assets' metadata; likewise.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
def upload(
    paths: Sequence[Path], url: str, key: str, *, wait: bool, settled: bool, timeout_s: float, parallel: int,
    content_type: str | None, profiles: tuple[str, ...], tags: tuple[str, ...],
    metadata: dict[str, str], quiet: bool,
) -> None:  # fmt: skip
    """Upload files; prints a line per file as each ends: the asset's id and the path (its state, too, if waited for).

    Files of 64 MiB and more go in parts: run the same command again after an interruption, and only what is missing
    is sent. The exit code is 0 if everything went well, 1 if not.
    """
    console = Console(stderr=True)
    with transfers(console, disable=quiet) as progress:
        run = _Run(
            progress, wait=wait or settled, settled=settled, timeout_s=timeout_s, parallel=parallel,
            content_type=content_type, about=About(metadata, tags, profiles or None),
        )  # fmt: skip
        outcomes = ask(url, key, lambda client: run.all(client, paths, _tell), timeout_s=3600.0)
    if any(outcome.problem is not None for outcome in outcomes):
        sys.exit(1)


def _tell(outcome: Outcome) -> None:
    if outcome.asset_id is not None:
        state = f"  {outcome.asset.state}" if outcome.asset else ""
        click.echo(f"{outcome.asset_id}{state}  {outcome.path}")
    if outcome.problem is not None:
        click.echo(f"medialane: {outcome.path}: {outcome.problem}", err=True)


class _Run:
    def __init__(
        self,
        progress: Progress,
        *,
        wait: bool,
        settled: bool,
        timeout_s: float,
        parallel: int,
        content_type: str | None,
        about: About,
    ) -> None:
        self._progress = progress
        self._wait = wait
        self._settled = settled
        self._timeout_s = timeout_s
        self._parallel = parallel
        self._content_type = content_type
        self._about = about

    async def all(
        self, client: MedialaneClient, paths: Sequence[Path], tell: Callable[[Outcome], None]
    ) -> list[Outcome]:
        """Upload them; `tell` hears of each when it has ended, so that an interruption loses nothing of those."""
        sending, following = asyncio.Semaphore(self._parallel), asyncio.Semaphore(_FOLLOWED)

        async def one(path: Path) -> Outcome:
            async with sending:
                outcome = await self._send(client, path)
            if self._wait and outcome.asset_id is not None:
                async with following:
                    outcome = await self._follow(client, outcome.asset_id, outcome)
            tell(outcome)
            return outcome

        return list(await asyncio.gather(*(one(path) for path in paths)))

    async def _send(self, client: MedialaneClient, path: Path) -> Outcome:
        content_type = self._content_type or _guess(path)
        if content_type is None:
            return Outcome(path, problem="its name tells no content type; say it with --type")
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
            bar = self._progress.add_task(name_of(path), total=size)
            if size >= IN_PARTS_FROM:
                return Outcome(path, await self._in_parts(client, path, content_type, bar))
            asset_id = await client.upload(name_of(path), content_type, path, **self._about._asdict())
        except (ClientError, OSError) as error:
            return Outcome(path, problem=str(error))
        self._progress.update(bar, completed=size)
        return Outcome(path, asset_id)

    async def _in_parts(self, client: MedialaneClient, path: Path, content_type: str, bar: TaskID) -> UUID:
        sending = PartsUpload(
            client, path, content_type, **self._about._asdict(),
            sent=lambda count: self._progress.update(bar, advance=count),
        )  # fmt: skip
        note = _note(client.base_url, path, self._about)
        upload_id = _noted(note)
        if upload_id is None or not await sending.resume(upload_id):
            upload_id = await sending.begin()
            try:
                _keep(note, upload_id)
            except OSError as error:  # a home that is not there, or may not be written to
                click.echo(f"medialane: {path}: an interruption would lose it all: {error}", err=True)
            await sending.send(upload_id)
        note.unlink(missing_ok=True)
        return upload_id

    async def _follow(self, client: MedialaneClient, asset_id: UUID, outcome: Outcome) -> Outcome:
        follow = client.wait_settled if self._settled else client.wait_terminal
        try:
            asset = await follow(asset_id, timeout_s=self._timeout_s, poll_s=0.5)
        except AssetFailedError as error:
            asset = error.asset
        except ClientError as error:
            return outcome._replace(problem=str(error))
        if asset.state == "ready":
            return outcome._replace(asset=asset, problem=_missing(asset) if self._settled else None)
        why = f"{asset.state}: {asset.error_code or ''} {asset.error_detail or ''}".rstrip(": ")
        return outcome._replace(asset=asset, problem=why)


def _missing(asset: Asset) -> str | None:
    """What was not made although the asset is ready; None if all was."""
    failed = [job.stage for job in asset.jobs if job.generation == asset.generation and job.state != "done"]
    return f"ready, without what {', '.join(failed)} makes" if failed else None


def _guess(path: Path) -> str | None:
    return _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0]


def _note(url: str, path: Path, about: About = ABOUT_NOTHING) -> Path:
    """Where it is kept which upload a file was begun as; another content is another file, others wanted of it, too."""
    found = path.stat()
    said = [url, str(path.resolve()), str(found.st_size), str(found.st_mtime_ns), *sorted(about.profiles or ())]
    said += [json.dumps([sorted(about.tags), sorted(about.metadata.items())])] if about.tags or about.metadata else []
    name = hashlib.sha256(os.fsencode("\n".join(said))).hexdigest()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "medialane" / "uploads" / name


def _noted(note: Path) -> UUID | None:
    try:
        return UUID(note.read_text())
    except (OSError, ValueError):  # none, or none that can be read
        return None


def _keep(note: Path, upload_id: UUID) -> None:
    """Whole or not at all: a kill or a full disk must not leave half an id."""
    note.parent.mkdir(parents=True, exist_ok=True)
    written = note.with_name(f"{note.name}.{upload_id}")
    try:
        written.write_text(str(upload_id))
        written.replace(note)
    finally:
        written.unlink(missing_ok=True)
