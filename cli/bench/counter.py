"""A receiver as fast as Python makes one, in a process of its own: it answers 200 and counts.

`python -m cli.bench.counter [SECONDS]` prints its port. POST counts, and is answered after so long; GET answers with
the counts as JSON. It ends with its standard input.
"""

import asyncio
import json
import signal
import sys
import time
from typing import cast

import uvloop

from cli.bench.lifeline import end_with_caller

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Counts:
    """Requests, distinct `webhook-id`s, and the first and last arrival in Unix seconds."""

    def __init__(self) -> None:
        self.requests = 0
        self.ids: set[bytes] = set()
        self.first = self.last = 0.0

    def note(self, identifier: bytes) -> None:
        """Count one request."""
        self.last = time.time()
        self.first = self.first or self.last
        self.requests += 1
        self.ids.add(identifier)

    def as_json(self) -> bytes:
        """The counts, for GET."""
        counts = {"requests": self.requests, "distinct": len(self.ids), "first": self.first, "last": self.last}
        return json.dumps(counts).encode()


class Connection(asyncio.Protocol):
    """One kept connection; requests come one after the other, whole or in pieces."""

    def __init__(self, counts: Counts, delay_s: float) -> None:
        self._counts = counts
        self._delay_s = delay_s
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own class is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            length = int(_header(head.lower(), b"content-length") or 0)
            if not separator or len(rest) < length or self._transport is None:
                return
            self._buffer = rest[length:]
            if head.startswith(b"GET"):
                body = self._counts.as_json()
                self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            else:
                self._counts.note(_header(head.lower(), b"webhook-id"))
                self._accept(self._transport)

    def _accept(self, transport: asyncio.WriteTransport) -> None:
        if not self._delay_s:
            transport.write(_OK)
        else:
            asyncio.get_running_loop().call_later(self._delay_s, transport.write, _OK)


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()


async def _serve(delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    end_with_caller(stop.set)
    counts = Counts()
    server = await loop.create_server(lambda: Connection(counts, delay_s), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) if sys.argv[1:] else 0.0))
