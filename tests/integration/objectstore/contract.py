"""What every object store has to do. A suite for an implementation inherits this and gives a `store`."""

import asyncio
import hashlib
import os
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import pytest
from yarl import URL

from connectors.objectstore.port import Part
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


async def post(form, data, **changed):
    """What a browser does with a form: its fields first, the file last."""
    body = aiohttp.FormData()
    for name, value in (form.fields | changed).items():
        body.add_field(name, value)
    body.add_field("file", data, filename="photo.jpg")
    async with aiohttp.ClientSession() as session, session.post(URL(form.url), data=body) as response:
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

    async def test_a_signed_checksum_takes_no_other_bytes(self, store):
        name = key()
        signed = store.presign_put(name, "image/jpeg", 5, sha256_hex=sha256(b"hello"))
        assert (await send(signed, b"world"))[0] in {400, 403}
        assert await store.head(name) is None
        assert (await send(signed, b"hello", headers={"Content-Type": "image/jpeg"}))[0] == 403
        assert (await send(signed, b"hello"))[0] == 200

    async def test_a_form_stores_exactly_what_was_announced(self, store):
        name = key()
        form = store.presign_post(name, "image/jpeg", 5)
        assert (await post(form, b"hello!"))[0] in {400, 403}
        assert (await post(form, b"hello", **{"Content-Type": "text/html"}))[0] in {400, 403}
        assert (await post(form, b"hello", key="uploads/elsewhere"))[0] in {400, 403}
        assert await store.head(name) is None
        assert (await post(form, b"hello"))[0] in {200, 201, 204}
        head = await store.head(name)
        assert (head.size, head.content_type) == (5, "image/jpeg")

    async def test_a_peek_shows_the_beginning_and_the_head(self, store):
        name, data = key(), os.urandom(10_000)
        await send(store.presign_put(name, "video/mp4", len(data)), data)
        head, beginning = await store.peek(name, 4096)
        assert beginning == data[:4096]
        assert head == msgspec.structs.replace(await store.head(name), checksum=None)
        small = key()
        await send(store.presign_put(small, "image/jpeg", 5), b"hello")
        head, beginning = await store.peek(small, 4096)
        assert (head.size, beginning) == (5, b"hello")
        assert await store.peek(key(), 4096) is None

    async def test_an_upload_in_parts(self, store):
        name, parts = key(), [os.urandom(5 << 20), b"the last one"]
        upload = await store.create_multipart(name, "video/mp4")
        assert await store.list_parts(name, upload) == ()
        for number, data in enumerate(parts, 1):
            assert (await send(store.presign_part(name, upload, number), data))[0] == 200
        listed = await store.list_parts(name, upload)
        assert [(part.number, part.size) for part in listed] == [(1, 5 << 20), (2, 12)]
        assert await store.head(name) is None
        assert await store.complete_multipart(name, upload, listed)
        head, beginning = await store.peek(name, 100)
        assert (head.size, head.content_type, beginning) == ((5 << 20) + 12, "video/mp4", parts[0][:100])
        await store.complete_multipart(name, upload, listed)  # some say that it is gone, some that it is done
        assert (await store.head(name)).etag == head.etag
        assert not await store.list_parts(name, upload)

    async def test_parts_that_are_not_there_make_no_object(self, store):
        name = key()
        upload = await store.create_multipart(name, "video/mp4")
        await send(store.presign_part(name, upload, 1), b"hello")
        with pytest.raises(MedialaneError) as caught:
            await store.complete_multipart(name, upload, [Part(number=1, size=5, etag="0" * 32)])
        assert caught.value.code is ErrorCode.PART_INVALID
        assert await store.head(name) is None

    async def test_an_aborted_upload_is_gone_and_may_be_aborted_again(self, store):
        name = key()
        upload = await store.create_multipart(name, "video/mp4")
        signed = store.presign_part(name, upload, 1)
        await send(signed, b"hello")
        await store.abort_multipart(name, upload)
        await store.abort_multipart(name, upload)
        assert not await store.list_parts(name, upload)
        assert (await send(signed, b"hello"))[0] == 404

    async def test_a_listing_goes_on_where_it_was(self, store):
        folder = f"uploads/{uuid7()}"
        for number in range(3):
            await send(store.presign_put(f"{folder}/{number}", "image/jpeg", 5), b"hello")
        listed = await store.list_page(f"{folder}/")
        assert [(item.key, item.size) for item in listed] == [(f"{folder}/{number}", 5) for number in range(3)]
        assert await store.list_page(f"{folder}/", after=listed[0].key) == listed[1:]

    async def test_a_changed_address_is_refused(self, store):
        presigned = store.presign_put(key(), "image/jpeg", 5)
        async with aiohttp.ClientSession() as session:
            address = URL(presigned.url.replace("uploads/", "uploads/x"), encoded=True)
            async with session.put(address, data=b"hello", headers=presigned.headers) as response:
                assert response.status == 403

    async def test_a_signed_get_reads(self, store):
        name = key()
        await send(store.presign_put(name, "image/jpeg", 5), b"hello")
        soon = datetime.now(UTC) + timedelta(seconds=60)
        assert await send(store.presign_get(name, soon), None, "GET") == (200, b"hello")
        assert await send(store.presign_get(name, soon, method="HEAD"), None, "HEAD") == (200, b"")
        assert (await send(store.presign_get(name, soon), None, "HEAD"))[0] == 403
        assert store.presign_get(name, soon).left_s() <= 60
        async with aiohttp.ClientSession() as session, session.get(URL(store.public_url(name), encoded=True)) as bare:
            assert bare.status == 403

    async def test_a_signed_get_says_what_is_answered_beside_the_bytes(self, store, tmp_path):
        name, path = key(), tmp_path / "file"
        path.write_bytes(b"hello")
        await store.put_file(name, path, "image/webp", sha256(b"hello"), cache_control="private, max-age=5")
        soon = datetime.now(UTC) + timedelta(seconds=60)
        said = {
            "Cache-Control": "public, immutable", "Expires": "Sat, 31 Jan 2026 12:00:00 GMT",
            "Content-Disposition": "attachment; filename=\"a b.webp\"; filename*=UTF-8''%C3%A4%20b.webp",
        }  # fmt: skip
        async with aiohttp.ClientSession() as session:
            for answer in (said, {}):
                address = URL(store.presign_get(name, soon, answer=answer).url, encoded=True)
                async with session.get(address) as response:
                    found = {name: response.headers.get(name) for name in said}
                    assert found == dict.fromkeys(said) | {"Cache-Control": "private, max-age=5"} | answer

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
