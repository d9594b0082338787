"""What every object store has to do. A suite for an implementation inherits this and gives a `store`."""

import asyncio
import hashlib
import os

import aiohttp
import pytest
from yarl import URL

from schemas.errors import ErrorCode, MedialaneError
from schemas.ids import uuid7


def key():
    return f"uploads/{uuid7()}/photo +ä~%.jpg"


def sha256(data):
    return hashlib.sha256(data).hexdigest()


async def send(presigned, data, method="PUT", headers=None):
    """What the reference's load client does: its HTTP library sends the length, it sets the type alone."""
    sent = presigned.headers if headers is None else headers
    address = URL(presigned.url, encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, address, data=data, headers=sent) as response,
    ):
        return response.status, await response.read()


class ObjectStoreContract:
    async def test_a_signed_put_stores_what_head_then_describes(self, store):
        name = key()
        assert (await send(store.presign_put(name, "image/jpeg", 5), b"hello"))[0] == 200
        head = await store.head(name)
        assert (head.size, head.content_type) == (5, "image/jpeg")
        assert head.etag.isalnum()

    @pytest.mark.parametrize(
        ("data", "content_type"), [(b"hell", "image/jpeg"), (b"hello!", "image/jpeg"), (b"hello", "text/html")]
    )
    async def test_another_length_or_type_than_signed_is_refused(self, store, data, content_type):
        name = key()
        status, _ = await send(store.presign_put(name, "image/jpeg", 5), data, headers={"Content-Type": content_type})
        assert status == 403
        assert await store.head(name) is None

    async def test_a_changed_address_is_refused(self, store):
        presigned = store.presign_put(key(), "image/jpeg", 5)
        async with aiohttp.ClientSession() as session:
            address = URL(presigned.url.replace("uploads/", "uploads/x"), encoded=True)
            async with session.put(address, data=b"hello", headers=presigned.headers) as response:
                assert response.status == 403

    async def test_a_signed_get_reads(self, store):
        name = key()
        await send(store.presign_put(name, "image/jpeg", 5), b"hello")
        assert await send(store.presign_get(name, 60), None, "GET") == (200, b"hello")
        async with aiohttp.ClientSession() as session, session.get(URL(store.public_url(name), encoded=True)) as bare:
            assert bare.status == 403

    async def test_head_of_nothing_is_none(self, store):
        assert await store.head(key()) is None

    async def test_a_download_hashes_what_it_writes(self, store, tmp_path):
        name, data = key(), os.urandom(3_000_000)
        await send(store.presign_put(name, "video/mp4", len(data)), data)
        head = await store.head(name)
        path = tmp_path / "file"
        assert await store.download(name, path, if_match=head.etag) == sha256(data)
        assert path.read_bytes() == data

    async def test_a_download_of_something_else_than_was_completed_is_refused(self, store, tmp_path):
        name = key()
        await send(store.presign_put(name, "image/jpeg", 5), b"hello")
        before = await store.head(name)
        await send(store.presign_put(name, "image/jpeg", 5), b"world")
        with pytest.raises(MedialaneError) as caught:
            await store.download(name, tmp_path / "file", if_match=before.etag)
        assert caught.value.code is ErrorCode.SOURCE_CHANGED

    async def test_a_download_of_nothing_says_so(self, store, tmp_path):
        with pytest.raises(MedialaneError) as caught:
            await store.download(key(), tmp_path / "file")
        assert caught.value.code is ErrorCode.SOURCE_MISSING

    async def test_a_file_is_put_once_and_the_first_one_stays(self, store, tmp_path):
        name, first, second = key(), tmp_path / "first", tmp_path / "second"
        first.write_bytes(b"first")
        second.write_bytes(b"second one")
        one = await store.put_file(name, first, "image/webp", sha256(b"first"))
        two = await store.put_file(name, second, "image/webp", sha256(b"second one"))
        assert (one.created, one.size, one.sha256) == (True, 5, sha256(b"first"))
        assert (two.created, two.size, two.sha256) == (False, 5, sha256(b"first"))
        head = await store.head(name)
        assert (head.size, head.content_type, head.checksum) == (5, "image/webp", sha256(b"first"))

    async def test_of_many_puts_at_once_one_creates_and_all_agree(self, store, tmp_path):
        name = key()
        paths = [tmp_path / str(number) for number in range(8)]
        for number, path in enumerate(paths):
            path.write_bytes(bytes([number]) * (number + 1))
        stored = await asyncio.gather(
            *(store.put_file(name, path, "image/webp", sha256(path.read_bytes())) for path in paths)
        )
        assert sum(each.created for each in stored) == 1
        assert len({(each.size, each.sha256) for each in stored}) == 1

    async def test_delete_removes_and_may_be_repeated(self, store):
        name = key()
        await send(store.presign_put(name, "image/jpeg", 5), b"hello")
        await store.delete(name)
        await store.delete(name)
        assert await store.head(name) is None

    async def test_the_bucket_answers(self, store):
        await store.check()
