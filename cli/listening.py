"""`medialane webhooks listen`: a receiver of one's own for as long as the command runs, registered by the API.

What a developer would otherwise write first: it answers 200, checks both signatures, and says what came.
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial

import click

from cli.client import Endpoint, MedialaneClient, RefusedError
from cli.common.door import ask, with_door
from cli.common.terminal import one_line
from cli.harness.receiver import Received, Receiver, VerificationError

_REFUSED = """The service does not send to {url}: {why}
Of a service on this machine, set MEDIALANE_WEBHOOK_ALLOW_PRIVATE=true (development only), as the local stack does.
One that is elsewhere needs the address of a tunnel that leads to this port: --port PORT --address URL"""
_LOOK_AGAIN_S = 3600.0
# What an event's type says of the asset, where it is not the state's own word.
_STATES = {"created": "pending", "reopened": "uploaded"}


@click.command()
@with_door
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Of 127.0.0.1. Default: one that is free.")
@click.option("--events", default="*", show_default=True, help="Event types, comma separated; * for all.")
@click.option("--address", metavar="URL", help="Where the service reaches this port, if not by 127.0.0.1: a tunnel's.")
def listen(url: str, key: str, port: int, events: str, address: str | None) -> None:
    """Developers: print each webhook as it comes.

    A line has the event's type, the asset and its state (of a job the stage, of a variant the profile), and whether
    both signatures hold. Registers an endpoint on this machine by the API (the key needs the scope webhooks:*), and
    removes it at Ctrl-C.
    """
    wanted = [name for part in events.split(",") if (name := part.strip())]
    ask(url, key, lambda client: _listen(client, wanted, port, address))


async def _listen(client: MedialaneClient, events: list[str], port: int, address: str | None) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as open_:
        try:
            receiver = await open_.enter_async_context(Receiver(port=port))
        except OSError as error:
            raise click.ClickException(f"port {port} cannot be had: {error.strerror or error}") from error
        endpoint = await _registered(client, address or receiver.url("listen"), events)
        try:
            click.echo(f"listening as {endpoint.url} ({endpoint.id}); Ctrl-C ends it", err=True)
            await _tell_all(receiver, endpoint, stopped)
        finally:
            await client.delete_webhook(endpoint.id)
            click.echo(f"endpoint {endpoint.id} removed", err=True)


async def _registered(client: MedialaneClient, address: str, events: list[str]) -> Endpoint:
    try:
        return await client.register_webhook(address, events)
    except RefusedError as error:
        if error.code != "webhook_url_refused":
            raise
        raise click.ClickException(_REFUSED.format(url=address, why=error.message)) from error


async def _tell_all(receiver: Receiver, endpoint: Endpoint, stopped: asyncio.Event) -> None:
    told, ending = 0, asyncio.create_task(stopped.wait())
    try:
        while not stopped.is_set():
            coming = asyncio.create_task(receiver.wait_for(partial(_more_than, told), _LOOK_AGAIN_S))
            await asyncio.wait([coming, ending], return_when=asyncio.FIRST_COMPLETED)
            coming.cancel()
            with suppress(asyncio.CancelledError, TimeoutError):
                await coming
            for one in receiver.received[told:]:
                click.echo(_line(one, endpoint.secret or ""))
            told = len(receiver.received)
    finally:
        ending.cancel()


def _more_than(told: int, received: Sequence[Received]) -> bool:
    return len(received) > told


def _line(one: Received, secret: str) -> str:
    try:
        one.verify(secret)
    except (VerificationError, ValueError) as error:
        return f"refused: {one_line(str(error))}"
    data = one.payload.get("data") or {}
    return f"{one.event_type:<16}  {one.asset_id}  {_state(one.event_type, data)}  signature holds"


def _state(kind: str, data: dict[str, object]) -> str:
    """What the event says: an asset's state, a job's stage and how far it is, or a variant's profile."""
    about, _, word = kind.partition(".")
    if about == "asset":
        code = data.get("code")
        return _STATES.get(word, word) + (f" ({code})" if code else "")
    variant = data.get("variant")
    if isinstance(variant, dict):
        return str(variant.get("profile"))
    percent = data.get("percent")
    return f"{data.get('stage', '-')}" + (f" {percent} %" if percent is not None else "")
