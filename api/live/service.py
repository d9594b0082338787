"""An asset's events as a stream without a gap, and waiting for its end."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from uuid import UUID

from api.live.hub import Heard, Hub, Listener
from connectors.postgres.assets.views import read_events, read_progress, read_state
from connectors.postgres.database import Database
from schemas.errors import ErrorCode, MedialaneError
from schemas.states import AssetState

UNDER_WAY: frozenset[str] = frozenset({AssetState.PENDING, AssetState.UPLOADED, AssetState.PROCESSING})

_PAGE = 200
_HEARTBEAT_S = 15.0
"""How often a stream says that it is still there, and asks whether its key still is."""

_LONGEST_S = 900.0


class Live:
    """Follows assets."""

    def __init__(self, database: Database, hub: Hub) -> None:
        self._database = database
        self._hub = hub

    async def wait(self, tenant_id: UUID, asset_id: UUID, patience_s: float, *, settled: bool = False) -> None:
        """Return when the asset is on its way no more, or after a while; `settled`: and no stage after that, either.

        Raises `MedialaneError`: not_found; rate_limited, service_unavailable if too many listen.
        """
        ends = time.monotonic() + patience_s
        with self._hub.place(tenant_id), self._hub.listening(asset_id) as listener:
            while await self._goes_on(tenant_id, asset_id, settled=settled):
                left = ends - time.monotonic()
                if left <= 0 or self._hub.closing.is_set():
                    return
                await listener.next(left)

    async def begin(self, held: ExitStack, tenant_id: UUID, asset_id: UUID) -> None:
        """Whether there may be a stream, whose place is given back with `held`.

        Raises `MedialaneError`: not_found; rate_limited, service_unavailable if too many listen.
        """
        held.enter_context(self._hub.place(tenant_id))
        await self._state(tenant_id, asset_id)

    async def stream(
        self, tenant_id: UUID, asset_id: UUID, after: int, *, admitted: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[bytes]:
        """Server-sent events after a sequence number; `id` is the asset's `seq`, `data` what Kafka carries.

        Ends after a quarter of an hour: browsers come again with the last `id` that they saw. Ends, too, at the
        heartbeat that finds the caller `admitted` no more.
        """
        now = time.monotonic()
        beat, ends = now + _HEARTBEAT_S, now + _LONGEST_S
        yield b"retry: 1000\n\n"
        with self._hub.listening(asset_id) as listener:
            heard: Heard | None = None
            while True:
                if time.monotonic() >= beat:
                    if not await admitted():
                        return
                    beat = time.monotonic() + _HEARTBEAT_S
                    yield b": still here\n\n"
                events = await self._after(tenant_id, asset_id, after, heard)
                for event in events:
                    after = event.seq
                    yield f"id: {event.seq}\nevent: {event.type}\ndata: {event.payload}\n\n".encode()
                if len(events) == _PAGE:
                    heard = None
                    continue
                if self._hub.closing.is_set() or time.monotonic() > ends:
                    return
                heard = await self._next(listener, after, beat)

    async def _next(self, listener: Listener, after: int, beat: float) -> Heard | None:
        """The next event that was not told yet: a reader that is ahead of Kafka hears old ones first."""
        while (heard := await listener.next(max(0.0, beat - time.monotonic()))) is not None and heard.seq <= after:
            pass
        return heard

    async def _after(self, tenant_id: UUID, asset_id: UUID, after: int, heard: Heard | None) -> tuple[Heard, ...]:
        if heard is not None and heard.seq == after + 1:
            return (heard,)
        async with self._database.tenant(tenant_id) as connection:
            found = await read_events(connection, tenant_id, asset_id, after=after, limit=_PAGE)
        return tuple(Heard(*event) for event in found)

    async def _goes_on(self, tenant_id: UUID, asset_id: UUID, *, settled: bool) -> bool:
        if not settled:
            return await self._state(tenant_id, asset_id) in UNDER_WAY
        async with self._database.tenant(tenant_id) as connection:
            found = await read_progress(connection, tenant_id, asset_id)
        if found is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        state, working = found
        return state in UNDER_WAY or (state == AssetState.READY and working)

    async def _state(self, tenant_id: UUID, asset_id: UUID) -> str:
        async with self._database.tenant(tenant_id) as connection:
            state = await read_state(connection, tenant_id, asset_id)
        if state is None:
            raise MedialaneError(ErrorCode.NOT_FOUND)
        return state
