"""A closed-loop load generator: so many clients, each with one kept connection and one request at a time.

Written on plain streams: on a machine that also runs the stack, the generator's own CPU would else be the figure.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit


class LoadError(Exception):
    """An answer that was not the expected one; a rate of errors is no figure."""


class Load(NamedTuple):
    """What came of it: answers per second, each answer's seconds, each answer's body."""

    per_s: float
    seconds: list[float]
    bodies: list[bytes]


def request(method: str, path: str, *, host: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


async def drive(address: str, requests: Sequence[bytes], *, clients: int, per_s: float | None = None) -> Load:
    """Send every request once, `clients` at a time. Raises `LoadError` at the first unexpected answer.

    With `per_s` each has its moment and is not sent before; its seconds count from that moment, so that a slow answer
    is not hidden by the requests that it kept from being sent.
    """
    parts = urlsplit(address)
    load = Load(0.0, [], [])
    began = time.perf_counter()
    left = ((content, None if per_s is None else began + index / per_s) for index, content in enumerate(requests))
    await asyncio.gather(*(_client(parts.hostname or "", parts.port or 80, left, load) for _ in range(clients)))
    return load._replace(per_s=len(requests) / (time.perf_counter() - began))


async def _client(host: str, port: int, left: Iterator[tuple[bytes, float | None]], load: Load) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        for content, due in left:
            began = time.perf_counter() if due is None else due
            if began > time.perf_counter():
                await asyncio.sleep(began - time.perf_counter())
            writer.write(content)
            status, body = await _answer(reader)
            load.seconds.append(time.perf_counter() - began)
            load.bodies.append(body)
            if status != 200:
                raise LoadError(f"{content.split(b' HTTP')[0].decode()}: answered {status}: {body[:300]!r}")
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    if b"transfer-encoding: chunked" in head:
        return status, await _chunks(reader)
    _, _, rest = head.partition(b"\r\ncontent-length:")
    return status, await reader.readexactly(int(rest.split(b"\r\n", 1)[0] or 0))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body
