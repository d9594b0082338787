"""Who listens to which asset in this process, and how they are woken.

Kafka tells of an event soon after it was committed; the database has it before. So a listener is registered first and
reads the database then: what the read did not see yet is heard afterwards, and nothing falls in between. While Kafka is
not followed (yet), listeners look again every so often; nobody waits for it.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from uuid import UUID

import msgspec

from api.limits.concurrency import Places
from schemas.errors import ErrorCode

MOST_PLACES = 256
"""Of a process: whoever listens holds a connection, and those are bounded. A tenant has a quarter of them at most."""

LOOK_AGAIN_S = 10.0
"""How often a listener looks at the database although nothing was heard: a broker's failure costs no more than that."""

LOOK_WITHOUT_KAFKA_S = 0.5


class Tail(Protocol):
    """What the hub hears from (`connectors.kafka.tail.TopicTail`)."""

    @property
    def follows(self) -> bool:
        """Whether every record from now on is heard."""

    def begin(self) -> None:
        """Begin to follow, if that was not done yet."""


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

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        # As of before the caller's look at the database: what was told while Kafka was not followed yet is only there.
        self._sure = hub.follows
        self._heard: asyncio.Queue[Heard] = asyncio.Queue(maxsize=256)

    def tell(self, event: Heard) -> None:
        """Wake whoever waits; one who is far behind finds the rest in the database."""
        with contextlib.suppress(asyncio.QueueFull):
            self._heard.put_nowait(event)

    async def next(self, patience_s: float) -> Heard | None:
        """The next event; None after a while without any, or when the process ends: look at the database."""
        pause_s = LOOK_AGAIN_S if self._sure else LOOK_WITHOUT_KAFKA_S
        closing = asyncio.create_task(self._hub.closing.wait())
        hearing = asyncio.create_task(self._heard.get())
        try:
            await asyncio.wait(
                {closing, hearing}, timeout=min(patience_s, pause_s), return_when=asyncio.FIRST_COMPLETED
            )
            self._sure = self._hub.follows
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
        self._places = Places(
            MOST_PLACES, MOST_PLACES // 4, what="assets are being followed", excess=ErrorCode.RATE_LIMITED,
            retry_after_s=1,
        )  # fmt: skip

    def hear_from(self, tail: Tail) -> None:
        """Be told by Kafka; without this, listeners only look."""
        self._tail = tail

    @property
    def follows(self) -> bool:
        """Whether Kafka tells of everything from now on."""
        return self._tail is not None and self._tail.follows

    def place(self, tenant_id: UUID) -> AbstractContextManager[None]:
        """A place among those who may listen, taken before anything is waited for.

        Raises `MedialaneError`: rate_limited beyond the tenant's share, service_unavailable if all are taken.
        """
        return self._places.place(tenant_id)

    @contextmanager
    def listening(self, asset_id: UUID) -> Iterator[Listener]:
        """Listen to an asset. Read the database after this began, not before."""
        if self._tail is not None:
            self._tail.begin()
        listener = Listener(self)
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
