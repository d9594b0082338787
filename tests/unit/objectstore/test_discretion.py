"""What a store that is away leaves in logs and traces: no address, for that has a signature and somebody's file name."""

import asyncio
import io
import logging
import traceback

import aiohttp
import pytest
import structlog
from support.ports import free_port

from connectors.objectstore.failures import translated
from connectors.objectstore.s3 import S3ObjectStore
from connectors.telemetry import Telemetry
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import ObjectStoreSettings, TelemetrySettings

AWAY = {"bucket": "media", "access_key": "AK", "secret_key": "s3cret"}
KEY = "uploads/tenant/asset/her-holiday.jpg"


@pytest.fixture
def stream():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    Telemetry.start(TelemetrySettings(log_level="debug"), process="api", stream=stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
async def away():
    settings = AWAY | {"endpoint": f"http://127.0.0.1:{free_port()}"}
    async with S3ObjectStore(ObjectStoreSettings(**settings)) as store:
        yield store


def shown(stream, error):
    """What a trace and a log have of it."""
    assert error.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
    structlog.get_logger("ours").error("it failed", exc_info=error)
    return "".join(traceback.format_exception(error)), stream.getvalue()


@pytest.mark.parametrize(
    ("call", "cause", "why"),
    [
        (lambda store, _: store.head(KEY), "ConnectionRefusedError", "Connect call failed"),
        (lambda store, folder: store.download(KEY, folder / "file"), "NewConnectionError", "Connection refused"),
        (lambda store, _: store.delete(KEY), "NewConnectionError", "Connection refused"),
    ],
    ids=["head", "download", "delete"],
)
async def test_no_address_is_logged_or_traced_and_why_it_failed_is(stream, away, tmp_path, call, cause, why):
    with pytest.raises(MedialaneError) as caught:
        await call(away, tmp_path)
    assert f"({cause})" in caught.value.detail
    for told in shown(stream, caught.value):
        assert why in told
        assert "Signature" not in told
        assert "holiday" not in told


async def test_nor_is_that_of_a_connection_that_takes_too_long(stream):
    said = f"Connection timeout to host http://store/{KEY}?X-Amz-Signature=1"  # aiohttp's words
    with pytest.raises(MedialaneError) as caught, translated():
        raise aiohttp.ConnectionTimeoutError(said)
    for told in shown(stream, caught.value):
        assert "(ConnectionTimeoutError)" in told
        assert "Signature=1" not in told
        assert "holiday" not in told


async def test_nor_is_that_of_an_answer_that_is_none(stream):
    async def babble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello there\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        settings = AWAY | {"endpoint": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
        async with S3ObjectStore(ObjectStoreSettings(**settings)) as store:
            with pytest.raises(MedialaneError) as caught:
                await store.head(KEY)
    for told in shown(stream, caught.value):
        assert "does not answer" in told
        assert "Signature" not in told
        assert "holiday" not in told
