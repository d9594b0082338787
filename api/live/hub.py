"""Who listens to which asset in this process, and how they are woken.

Kafka tells of an event soon after it was committed; the database has it before. So a listener is registered first and
reads the database then: what the read did not see yet is heard afterwards, and nothing falls in between. Without Kafka,
listeners look again every so often.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

import msgspec

LOOK_AGAIN_S = 10.0
"""How often a listener looks at the database although nothing was heard: a broker's failure costs no more than that."""

LOOK_WITHOUT_KAFKA_S = 0.5

_FOLLOW_S = 5.0


class Tail(Protocol):
    """What the hub hears from (`connectors.kafka.tail.TopicTail`)."""

    async def follow(self, *, patience_s: float) -> bool:
        """Begin; True once every record from now on is heard."""


class Heard(msgspec.Struct, frozen=True):
    """An event as it came from Kafka."""

    seq: int
    type: str
    payload: str


class _Envelope(msgspec.Struct, frozen=True):
    seq: int
    type: str


_ENVELOPE = msgspec.json.Decoder(_Envelope)


class Listener:
    """One who listens to one asset."""

    def __init__(self, hub: "Hub", *, pause_s: float) -> None:
        self._hub = hub
        self._pause_s = pause_s
        self._heard: asyncio.Queue[Heard] = asyncio.Queue(maxsize=256)

    def tell(self, event: Heard) -> None:
        """Wake whoever waits; one who is far behind finds the rest in the database."""
        with contextlib.suppress(asyncio.QueueFull):
            self._heard.put_nowait(event)

    async def next(self, patience_s: float) -> Heard | None:
        """The next event; None after a while without any, or when the process ends: look at the database."""
        closing = asyncio.create_task(self._hub.closing.wait())
        hearing = asyncio.create_task(self._heard.get())
        try:
            await asyncio.wait(
                {closing, hearing}, timeout=min(patience_s, self._pause_s), return_when=asyncio.FIRST_COMPLETED
            )
            return hearing.result() if hearing.done() else None
        finally:
            closing.cancel()
            hearing.cancel()


class Hub:
    """Passes events on to listeners."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self._tail: Tail | None = None
        self._listeners: dict[str, set[Listener]] = defaultdict(set)

    def hear_from(self, tail: Tail) -> None:
        """Be told by Kafka; without this, listeners only look."""
        self._tail = tail

    @property
    def listeners(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    @asynccontextmanager
    async def listening(self, asset_id: UUID) -> AsyncIterator[Listener]:
        """Listen to an asset. Read the database after this began, not before."""
        follows = self._tail is not None and await self._tail.follow(patience_s=_FOLLOW_S)
        listener = Listener(self, pause_s=LOOK_AGAIN_S if follows else LOOK_WITHOUT_KAFKA_S)
        key = str(asset_id)
        self._listeners[key].add(listener)
        try:
            yield listener
        finally:
            self._listeners[key].discard(listener)
            if not self._listeners[key]:
                del self._listeners[key]

    def heard(self, key: str, value: bytes) -> None:
        """A record of the events topic: its key is the asset."""
        listeners = self._listeners.get(key)
        if not listeners:
            return
        try:
            envelope = _ENVELOPE.decode(value)
        except msgspec.MsgspecError:
            return
        event = Heard(envelope.seq, envelope.type, value.decode())
        for listener in listeners:
            listener.tell(event)

    def close(self) -> None:
        """Let everybody go: the process ends."""
        self.closing.set()
