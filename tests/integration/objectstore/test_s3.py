"""The S3 implementation against a real server, and against servers that are not there or not ours."""

import hashlib
import importlib.util
from pathlib import Path

import msgspec
import pytest

from connectors.objectstore.s3 import S3ObjectStore
from schemas.errors import ErrorCode, MedialaneError

_spec = importlib.util.spec_from_file_location("objectstore_contract", Path(__file__).with_name("contract.py"))
_contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_contract)


@pytest.fixture
async def store(object_store_settings):
    async with S3ObjectStore(object_store_settings) as opened:
        yield opened


class TestS3(_contract.ObjectStoreContract):
    """The contract."""


@pytest.mark.parametrize(
    "change",
    [{"endpoint": "http://127.0.0.1:1"}, {"secret_key": "wrong"}, {"bucket": "no-such-bucket"}],
    ids=["nobody listens", "wrong secret", "no bucket"],
)
async def test_a_store_that_cannot_be_used_costs_no_work(object_store_settings, change, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"hello")
    async with S3ObjectStore(msgspec.structs.replace(object_store_settings, **change)) as store:
        for call in (
            store.check,
            lambda: store.download("uploads/x", tmp_path / "target"),
            lambda: store.put_file("media/x", file, "image/webp", hashlib.sha256(b"hello").hexdigest()),
        ):
            with pytest.raises(MedialaneError) as caught:
                await call()
            assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
            assert "127.0.0.1" not in caught.value.detail


async def test_a_full_disk_is_named(store, object_store_settings):
    name = _contract.key()
    await _contract.send(store.presign_put(name, "image/jpeg", 5), b"hello")
    with pytest.raises(MedialaneError) as caught:
        await store.download(name, Path("/dev/full"))
    assert caught.value.code is ErrorCode.NO_TEMP_SPACE


@pytest.mark.parametrize("change", [{"endpoint": "http://127.0.0.1:1"}, {"secret_key": "wrong"}])
async def test_a_store_that_cannot_be_used_is_not_one_that_has_nothing(object_store_settings, change):
    async with S3ObjectStore(msgspec.structs.replace(object_store_settings, **change)) as store:
        with pytest.raises(MedialaneError) as caught:
            await store.head("uploads/x")
        assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
