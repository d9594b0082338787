"""Server-sent events, as the API sends an asset's: a line per field, an empty line after each event."""

from collections.abc import AsyncIterable, AsyncIterator

import msgspec

from cli.client.errors import BadAnswerError
from cli.client.models import Event


async def read_events(lines: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """The events of a stream's lines. Raises `BadAnswerError` for one that is none."""
    data: list[bytes] = []
    async for line in lines:
        name, _, value = line.rstrip(b"\r\n").partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif not name and not value and data:
            yield _event(b"\n".join(data))
            data = []


def _event(content: bytes) -> Event:
    try:
        body = msgspec.json.decode(content, type=dict[str, object])
        return msgspec.convert({**body, "data": body}, Event)
    except msgspec.MsgspecError as error:
        raise BadAnswerError(f"an event that cannot be read: {error}") from error
