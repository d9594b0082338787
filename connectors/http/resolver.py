"""Name resolution on threads of its own.

getaddrinfo blocks, for half a minute and more when a name server is silent; on the loop's shared threads a few such
names would stop everything else that uses them. Nothing ends it early: a request that gives up leaves it behind, with
its thread. Who makes requests one after the other has to count it until then, or such names use up the threads.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

# Of a family. Those that do not answer are dialled side by side, a socket each, and a stranger says how many there are.
_MOST_ADDRESSES = 4

Lookups = list[asyncio.Future[Any]]
_lookups: ContextVar[Lookups] = ContextVar("lookups")


def lookups_of_this_task() -> Lookups:
    """A list to which every lookup is added that is begun for the present task from now on, until it asks again; each
    is done once its thread is free.
    """
    # aiohttp tells a resolver nothing of the request, but looks up in a task that inherits the request's context.
    noted: Lookups = []
    _lookups.set(noted)
    return noted


class OwnThreadsResolver(AbstractResolver):
    """getaddrinfo, at most `threads` at once."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """A name's first addresses; raises `OSError` (`socket.gaierror`) if it has none."""
        lookup = asyncio.get_running_loop().run_in_executor(self._pool, _lookup, host, port, family)
        _lookups.get([]).append(lookup)
        found = await lookup
        of_family: Counter[int] = Counter()
        first = []
        for one in found:
            of_family[one[0]] += 1
            if of_family[one[0]] <= _MOST_ADDRESSES:
                first.append(one)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _type, proto, _name, address in first
        ]

    async def close(self) -> None:
        """Let go of the threads; a lookup that hangs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


_Found = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


def _lookup(host: str, port: int, family: socket.AddressFamily) -> _Found:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
