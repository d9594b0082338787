"""A TCP proxy as a process: `python proxy.py LISTEN TARGET`. SIGUSR1 cuts the network, SIGUSR2 mends it.

Cut means silence, as when a cable is pulled: no connection is refused or reset, nothing gets through.
"""

import asyncio
import os
import signal
import sys
import threading

_CHUNK = 1 << 16


class Proxy:
    def __init__(self, target: int) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            await self._open.wait()
            writer.close()


async def main(listen: int, target: int) -> None:
    proxy = Proxy(target)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, proxy.cut)
    loop.add_signal_handler(signal.SIGUSR2, proxy.mend)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", listen)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


def end_with_caller() -> None:
    """End when standard input does: whoever started this is gone, however it went."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_caller, daemon=True).start()
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
