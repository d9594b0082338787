"""What a store that is away leaves in logs and traces: no address, for that has a signature and somebody's file name."""

import io
import logging
import traceback

import pytest
import structlog
from support.ports import free_port

from connectors.objectstore.s3 import S3ObjectStore
from connectors.telemetry import Telemetry
from schemas.errors import ErrorCode, MedialaneError
from schemas.settings import ObjectStoreSettings, TelemetrySettings

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
    address = f"http://127.0.0.1:{free_port()}"
    settings = ObjectStoreSettings(endpoint=address, bucket="media", access_key="AK", secret_key="s3cret")
    async with S3ObjectStore(settings) as store:
        yield store


@pytest.mark.parametrize(
    "call",
    [
        lambda store, folder: store.head(KEY),
        lambda store, folder: store.download(KEY, folder / "file"),
        lambda store, folder: store.delete(KEY),
    ],
    ids=["head", "download", "delete"],
)
async def test_no_address_is_logged_or_traced_and_why_it_failed_is(stream, away, tmp_path, call):
    with pytest.raises(MedialaneError) as caught:
        await call(away, tmp_path)
    assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
    assert "(NewConnectionError)" in caught.value.detail
    structlog.get_logger("ours").error("it failed", exc_info=caught.value)
    traced = "".join(traceback.format_exception(caught.value))
    for shown in (traced, stream.getvalue()):
        assert "Connection refused" in shown
        assert "Signature" not in shown
        assert "holiday" not in shown
