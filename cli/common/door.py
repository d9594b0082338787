"""What commands that talk to the API share: where it is, with which key, and how its refusals are told."""

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from cli.client import ClientError, MedialaneClient
from schemas.settings.values import http_url

T = TypeVar("T")


def with_door(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command `--url` and `--key`."""

    @click.option(
        "--url", envvar="MEDIALANE_URL", callback=_address, default="http://127.0.0.1:8080", show_default=True,
        help="Address of the API; also MEDIALANE_URL.",
    )  # fmt: skip
    @click.option(
        "--key", envvar="MEDIALANE_API_KEY", required=True, callback=_sendable, help="API key; also MEDIALANE_API_KEY."
    )
    @functools.wraps(command)
    def called(*arguments: Any, **options: Any) -> Any:
        return command(*arguments, **options)

    return called


def _address(_: click.Context, __: click.Parameter, url: str) -> str:
    if (wrong := http_url(url)) is not None:
        raise click.BadParameter(f"{url!r} is not valid: {wrong}")
    return url


def _sendable(_: click.Context, __: click.Parameter, key: str) -> str:
    """As a header takes it: what is around a key came with the file that it was in."""
    key = key.strip()
    if not key.isascii() or not key.isprintable():
        raise click.BadParameter("a key has visible ASCII characters, and nothing else")
    return key


def ask(url: str, key: str, work: Callable[[MedialaneClient], Awaitable[T]], *, timeout_s: float = 90.0) -> T:
    """Run `work` with a client; a refusal becomes one line on standard error and exit code 1."""

    async def run() -> T:
        async with MedialaneClient(url, key, timeout_s=timeout_s) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except ClientError as error:
        click.echo(f"medialane: {error}", err=True)
        sys.exit(1)
