"""A client of Kafka Connect's REST interface: the few calls that registering and watching a connector need."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
import structlog

from schemas.settings import ConnectSettings

_log = structlog.get_logger(__name__)

_RUNNING = "RUNNING"
_FAILED = "FAILED"
_STOPPED = "STOPPED"
_OPERATORS_WAIT_S = 60.0

T = TypeVar("T")


class ConnectError(Exception):
    """Connect refused a call (`status` is its HTTP code) or did not answer (`status` is None)."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TaskStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One task as Connect reports it; `trace` is a Java stack trace when it failed."""

    id: int
    state: str
    worker_id: str
    trace: str | None = None


class ConnectorState(msgspec.Struct, frozen=True, kw_only=True):
    """The connector without its tasks."""

    state: str
    worker_id: str
    trace: str | None = None


class ConnectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /connectors/{name}/status` answers. RUNNING may be stale after a restart of Connect."""

    name: str
    connector: ConnectorState
    tasks: tuple[TaskStatus, ...] = ()

    @property
    def running(self) -> bool:
        """The connector and at least one task run, and none fails."""
        return self.connector.state == _RUNNING and bool(self.tasks) and all(t.state == _RUNNING for t in self.tasks)

    @property
    def stopped(self) -> bool:
        """An operator stopped it, and its tasks have ended."""
        return self.connector.state == _STOPPED and not self.tasks

    @property
    def failed(self) -> bool:
        """Something failed for good and stays down until it is restarted."""
        return self.connector.state == _FAILED or any(task.state == _FAILED for task in self.tasks)

    @property
    def cause(self) -> str:
        """Why it does not run, in one line: of what failed first the last cause in its stack trace; else empty."""
        if self.stopped:
            return "an operator stopped it: `medialane connector start` lets it go on"
        states = [(self.connector.state, self.connector.trace), *((task.state, task.trace) for task in self.tasks)]
        failed = (trace for state, trace in states if state == _FAILED)
        lines = (next(failed, None) or "").splitlines()
        causes = [line for line in lines if line.startswith("Caused by: ")]
        return (causes[-1].removeprefix("Caused by: ") if causes else lines[0]) if lines else ""


class _Noted(msgspec.Struct, frozen=True):
    lsn: int | None = None


class _SourceOffset(msgspec.Struct, frozen=True):
    """A connector that was given another server has an offset of each; a forgotten one is null."""

    partition: dict[str, str]
    offset: _Noted | None = None


class _Offsets(msgspec.Struct, frozen=True):
    offsets: tuple[_SourceOffset, ...]


class ConnectClient:
    """Talks to one Connect cluster. Use as an async context manager; safe for concurrent calls."""

    def __init__(self, settings: ConnectSettings, *, timeout_s: float = 10.0) -> None:
        self._base = settings.url.rstrip("/")
        self._auth = (
            aiohttp.BasicAuth(settings.username, settings.password or "") if settings.username is not None else None
        )
        self._ca_file = settings.tls_ca_file
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        self._session = aiohttp.ClientSession(
            auth=self._auth,
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(ssl=tls, limit=4),
            # Also for a POST without a body, which Connect refuses with 415 otherwise.
            headers={"Content-Type": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def register(self, name: str, config: Mapping[str, str], *, wait_s: float = 30.0) -> None:
        """Create the connector, or give it this configuration; the same configuration again changes nothing.

        Retries for `wait_s` while Connect rebalances (409) or is starting. Raises `ConnectError`.
        """

        async def put() -> None:
            if await self.config(name) != {**config, "name": name}:
                await self._call("PUT", f"/connectors/{quote(name)}/config", json=dict(config))

        await _patiently(put, wait_s)

    async def stop(self, name: str) -> None:
        """Stop the connector, and return when no task of it is left. It stays stopped when Connect starts again.

        Raises `ConnectError`.
        """

        async def stopped() -> None:
            await self._call("PUT", f"/connectors/{quote(name)}/stop")
            found = await self.status(name)
            if found is not None and not found.stopped:
                raise ConnectError(f"{name} has not stopped: {found.connector.state}, {len(found.tasks)} tasks", 409)

        await _patiently(stopped, _OPERATORS_WAIT_S)

    async def resume(self, name: str) -> None:
        """Let a stopped connector go on where it was. Raises `ConnectError`."""
        await _patiently(lambda: self._call("PUT", f"/connectors/{quote(name)}/resume"), _OPERATORS_WAIT_S)

    async def forget_offsets(self, name: str) -> None:
        """Make a stopped connector begin anew, with a snapshot, when it is resumed. Raises `ConnectError`."""
        await _patiently(lambda: self._call("DELETE", f"/connectors/{quote(name)}/offsets"), _OPERATORS_WAIT_S)

    async def config(self, name: str, *, wait_s: float = 0.0) -> dict[str, str] | None:
        """The connector's present configuration, None if there is no such connector. Retries as `register` does."""
        path = f"/connectors/{quote(name)}/config"
        answer = await _patiently(lambda: self._call("GET", path, missing_ok=True), wait_s)
        return None if answer is None else _read(answer, dict[str, str])

    async def position(self, name: str, *, server: str) -> int | None:
        """Up to where in Postgres' log Connect has noted the rows of `server` as sent, as a byte position.

        `server` is the connector's topic.prefix. None before its first note. A connector that is started begins there.
        """
        answer = await self._call("GET", f"/connectors/{quote(name)}/offsets", missing_ok=True)
        noted = () if answer is None else _read(answer, _Offsets).offsets
        return next((one.offset.lsn for one in noted if one.offset and one.partition.get("server") == server), None)

    async def status(self, name: str) -> ConnectorStatus | None:
        """The connector's status, None if Connect knows no such connector (yet)."""
        answer = await self._call("GET", f"/connectors/{quote(name)}/status", missing_ok=True)
        return None if answer is None else _read(answer, ConnectorStatus)

    async def restart(self, name: str) -> None:
        """Restart what failed of the connector and its tasks; what runs is left alone."""
        await self._call("POST", f"/connectors/{quote(name)}/restart?includeTasks=true&onlyFailed=true")

    async def delete(self, name: str) -> None:
        """Remove the connector; its slot and offsets stay. No error if it is not there."""
        await self._call("DELETE", f"/connectors/{quote(name)}", missing_ok=True)

    async def _call(self, method: str, path: str, *, missing_ok: bool = False, **options: Any) -> bytes | None:
        if self._session is None:
            raise RuntimeError("ConnectClient is used outside its `async with`")
        try:
            async with self._session.request(method, self._base + path, **options) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectError(
                f"Connect at {self._base} does not answer: {str(error) or type(error).__name__}"
            ) from error
        if response.status == 404 and missing_ok:
            return None
        if response.status >= 400:
            raise ConnectError(f"Connect refused {method} {path}: {response.status} {_message(body)}", response.status)
        return body


async def _patiently(call: Callable[[], Awaitable[T]], wait_s: float) -> T:
    """Call until it succeeds, for `wait_s` seconds: Connect may be starting, or rebalancing (409)."""
    deadline, told = asyncio.get_running_loop().time() + wait_s, False
    while True:
        try:
            return await call()
        except ConnectError as error:
            if error.status not in {None, 409, 500, 503} or asyncio.get_running_loop().time() >= deadline:
                raise
            if not told:
                _log.warning("Connect is not ready; asking again", cause=str(error), for_s=wait_s)
                told = True
            await asyncio.sleep(0.2)


def _read(body: bytes, kind: type[T]) -> T:
    """An answer as Connect gives it. A proxy before it may say something else, which must not end who asks."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise ConnectError(f"Connect answered something else than its own: {error}") from error


def _message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, Any]).get("message", ""))
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
