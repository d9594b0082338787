"""The S3 implementation against a real server, and against servers that are not there or not ours."""

import asyncio
import hashlib
import importlib.util
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from support.stack import fresh_bucket

from connectors.objectstore.clients import Patience, boto_clients, boto_session
from connectors.objectstore.s3 import S3ObjectStore
from schemas.errors import ErrorCode, MedialaneError

BOUND_S = 60

_spec = importlib.util.spec_from_file_location("objectstore_contract", Path(__file__).with_name("contract.py"))
_contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_contract)


@pytest.fixture
async def store(object_store_settings):
    async with S3ObjectStore(object_store_settings) as opened:
        yield opened


class TestS3(_contract.ObjectStoreContract):
    """The contract."""


async def test_keys_that_boto3_finds_open_the_store_until_they_end(object_store_settings, monkeypatch, tmp_path):
    ends_at = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=8)
    for name, value in {
        "ACCESS_KEY_ID": object_store_settings.access_key,
        "SECRET_ACCESS_KEY": object_store_settings.secret_key,
        "CREDENTIAL_EXPIRATION": ends_at.isoformat(),
        "EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    own = msgspec.structs.replace(object_store_settings, access_key=None, secret_key=None)
    async with S3ObjectStore(own) as store:
        await store.check()
        name, other, data = _contract.key(), _contract.key(), b"hello"
        put, form = store.presign_put(name, "image/jpeg", 5), store.presign_post(other, "image/jpeg", 5)
        assert own.presign_ttl_s > 8 * 60
        assert (put.expires_at, form.expires_at) == (ends_at, ends_at)
        assert (await _contract.send(put, data))[0] == 200
        assert (await _contract.post(form, data))[0] in {200, 201, 204}
        for each in (name, other):
            assert await store.download(each, tmp_path / "file") == hashlib.sha256(data).hexdigest()
        assert {item.key for item in await store.list_page("uploads/")} >= {name, other}


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


@asynccontextmanager
async def answering(settings, *answers):
    """A store whose server gives these answers in turn, one per connection; and the bodies that it was sent."""
    left, bodies = list(answers), []

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, _, rest = head.partition(b"content-length: ")
        bodies.append(await reader.readexactly(int(rest.split(b"\r\n")[0] or 0)))
        writer.write(left.pop(0))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with S3ObjectStore(msgspec.structs.replace(settings, endpoint=f"http://127.0.0.1:{port}")) as store:
            yield store, bodies


BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nRetry-After: 3600\r\nConnection: close\r\n\r\n"
STORED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
NOTHING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
WORLD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nworld"
WORLD_WITH_TAG = WORLD.replace(b"\r\n\r\n", b'\r\nETag: "tag"\r\n\r\n')
NO_VERSION = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
CUT_OFF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nthe beginning"


async def test_a_put_that_is_turned_away_is_sent_again_from_its_beginning(object_store_settings, tmp_path):
    content = bytes(300_000)
    (tmp_path / "file").write_bytes(content)
    async with answering(object_store_settings, BUSY, STORED) as (store, bodies):
        stored = await store.put_file("media/x", tmp_path / "file", "image/webp", hashlib.sha256(content).hexdigest())
    assert stored.created
    assert bodies == [content, content]


@pytest.mark.parametrize("unknown", [NO_VERSION, NOTHING], ids=["no such id", "no such version"])
async def test_a_version_that_is_not_there_is_known_by_its_entity_tag_and_by_nothing_else(
    object_store_settings, unknown, tmp_path
):
    async with answering(object_store_settings, unknown, WORLD, unknown) as (store, _):
        fetched = await store.download("uploads/x", tmp_path / "file", if_match="tag", version_id="v")
        assert fetched == hashlib.sha256(b"world").hexdigest()
        with pytest.raises(MedialaneError):
            await store.download("uploads/x", tmp_path / "file", version_id="v")


@pytest.fixture
async def versions(s3_stack):
    """A store on a bucket that keeps versions."""
    with fresh_bucket(s3_stack) as settings:
        (client,) = boto_clients(boto_session(settings), settings, Patience(BOUND_S, attempts=1))
        client.put_bucket_versioning(Bucket=settings.bucket, VersioningConfiguration={"Status": "Enabled"})
        async with S3ObjectStore(settings) as store:
            yield store


async def test_a_version_of_another_bucket_is_known_by_its_entity_tag(versions, tmp_path):
    store, path, data = versions, tmp_path / "file", b"hello"
    elsewhere, name = _contract.key(), _contract.key()
    for each in (elsewhere, name):
        await _contract.send(store.presign_put(each, "image/jpeg", 5), data)
    pinned = {"if_match": (await store.head(name)).etag, "version_id": (await store.head(elsewhere)).version_id}
    assert await store.download(name, path, **pinned) == hashlib.sha256(data).hexdigest()
    await _contract.send(store.presign_put(name, "image/jpeg", 5), b"world")
    for wanted, code in ((name, ErrorCode.SOURCE_CHANGED), (_contract.key(), ErrorCode.SOURCE_MISSING)):
        assert await becomes(store.download(wanted, path, **pinned)) is code


class Hanging:
    """Takes connections and answers none of them until it is told to."""

    def __init__(self):
        self.asked, self.answers = 0, asyncio.Event()

    async def serve(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await self.answers.wait()
        writer.write(NOTHING)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def hanging(settings, **change):
    server = Hanging()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        endpoint = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with S3ObjectStore(msgspec.structs.replace(settings, endpoint=endpoint, **change)) as store:
            yield store, server
            server.answers.set()


async def becomes(call):
    try:
        return await call
    except MedialaneError as error:
        return error.code


AWAY = ErrorCode.OBJECT_STORE_UNAVAILABLE


async def test_nobody_queues_for_a_store_that_does_not_answer(object_store_settings):
    async with hanging(object_store_settings, connections=2, pool_timeout_s=0.2) as (store, server):
        calls = [asyncio.create_task(becomes(store.head(f"uploads/{number}"))) for number in range(20)]
        told, waiting = await asyncio.wait(calls, timeout=BOUND_S, return_when=asyncio.FIRST_COMPLETED)
        while len(told) < 18:
            more, waiting = await asyncio.wait(waiting, timeout=BOUND_S, return_when=asyncio.FIRST_COMPLETED)
            assert more, "a call waits for a connection beyond the bound"
            told |= more
        assert ({call.result() for call in told}, len(waiting), server.asked) == ({AWAY}, 2, 2)
        server.answers.set()
        assert await asyncio.wait_for(asyncio.gather(*waiting), BOUND_S) == [None, None]
        # Files, which wait for their turn however loaded the machine is.
        fetched = (becomes(store.download("uploads/x", Path("/dev/null"))) for _ in range(20))
        assert set(await asyncio.wait_for(asyncio.gather(*fetched), BOUND_S)) == {ErrorCode.SOURCE_MISSING}


async def test_a_thread_keeps_its_place_until_the_store_has_answered(object_store_settings):
    async with hanging(object_store_settings, connections=1, pool_timeout_s=0.2) as (store, server):
        leaving = asyncio.create_task(store.delete("uploads/x"))
        while not server.asked:  # noqa: ASYNC110 - it looks from outside
            await asyncio.sleep(0.01)
        leaving.cancel()
        assert await asyncio.wait_for(becomes(store.head("uploads/y")), BOUND_S) is AWAY
        server.answers.set()
        assert (
            await asyncio.wait_for(becomes(store.download("uploads/z", Path("/dev/null"))), BOUND_S)
            is ErrorCode.SOURCE_MISSING
        )
        assert await asyncio.wait_for(store.head("uploads/y"), BOUND_S) is None


async def test_who_asks_in_the_loop_leaves_at_once(object_store_settings):
    async with hanging(object_store_settings, connections=1, pool_timeout_s=0.2) as (store, server):
        for number in range(1, 4):
            leaving = asyncio.create_task(store.head("uploads/x"))
            while server.asked < number:  # noqa: ASYNC110 - it looks from outside
                await asyncio.sleep(0.01)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving


ENDLESS = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\nContent-Type: video/mp4\r\nETag: "tag"\r\n\r\n' + bytes(
    64
)


CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: "tag"\r\n\r\n5\r\nworld\r\n0\r\n\r\n'
LARGE_HEAD = ENDLESS[:-64]


async def test_of_a_server_that_knows_no_ranges_no_more_is_read_than_was_asked_for(object_store_settings):
    async with answering(object_store_settings, ENDLESS) as (store, _):
        head, beginning = await asyncio.wait_for(store.peek("uploads/x", 16), BOUND_S)
    assert (head.size, head.etag, beginning) == (10**12, "tag", bytes(16))


@pytest.fixture
def authority(tmp_path):
    """A certificate of localhost that signs itself: the files of it and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = tmp_path / "ca.pem", tmp_path / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private


async def test_questions_and_files_trust_the_ca_of_the_settings_and_nobody_else_does(
    object_store_settings, authority, tmp_path
):
    certificate, private = authority
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, private)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(WORLD_WITH_TAG)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "localhost", 0, ssl=tls, family=socket.AF_INET) as server:
        address = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        settings = msgspec.structs.replace(object_store_settings, endpoint=address)
        async with S3ObjectStore(msgspec.structs.replace(settings, tls_ca_file=str(certificate))) as store:
            assert (await store.peek("uploads/x", 9))[1] == b"world"
            assert await store.download("uploads/x", tmp_path / "file") == hashlib.sha256(b"world").hexdigest()
        async with S3ObjectStore(settings) as stranger:
            assert await becomes(stranger.peek("uploads/x", 9)) is AWAY
            assert await becomes(stranger.download("uploads/x", tmp_path / "file")) is AWAY


async def test_a_size_that_an_answer_does_not_say_is_asked_for(object_store_settings):
    async with answering(object_store_settings, CHUNKED, LARGE_HEAD) as (store, _):
        head, beginning = await asyncio.wait_for(store.peek("uploads/x", 3), BOUND_S)
    assert (head.size, beginning) == (10**12, b"wor")


async def test_a_question_that_breaks_off_or_meets_a_busy_store_is_asked_once_more(object_store_settings):
    async with answering(object_store_settings, BUSY, WORLD_WITH_TAG, CUT_OFF, WORLD_WITH_TAG) as (store, _):
        for _ in range(2):
            assert (await store.peek("uploads/x", 99))[1] == b"world"


@pytest.mark.parametrize(
    "short",
    [S3ObjectStore.check, partial(S3ObjectStore.peek, key="x", count=9), partial(S3ObjectStore.head, key="media/x")],
)
async def test_a_patient_question_waits_for_its_turn_behind_files(object_store_settings, short):
    async with hanging(object_store_settings, connections=1, pool_timeout_s=0.2) as (store, server):
        fetching = asyncio.create_task(becomes(store.download("uploads/x", Path("/dev/null"))))
        while not server.asked:  # noqa: ASYNC110 - it looks from outside
            await asyncio.sleep(0.01)
        checking = asyncio.create_task(becomes(short(store, patient=True)))
        assert await asyncio.wait_for(becomes(short(store)), BOUND_S) is AWAY
        assert (checking.done(), server.asked) == (False, 1)
        server.answers.set()
        await asyncio.wait_for(asyncio.gather(fetching, checking), BOUND_S)
        assert server.asked == 2, "it got its turn"


async def test_a_short_call_is_given_up_soon_and_a_file_is_waited_for(object_store_settings, tmp_path):
    (tmp_path / "file").write_bytes(b"hello")
    async with hanging(object_store_settings, answer_timeout_s=0.05) as (store, server):
        storing = asyncio.create_task(becomes(store.put_file("media/x", tmp_path / "file", "image/webp", "ab" * 32)))
        for call in (store.head("x"), store.peek("x", 9), store.list_parts("x", "1"), store.check()):
            assert await asyncio.wait_for(becomes(call), BOUND_S) is AWAY
        async with asyncio.timeout(BOUND_S):
            while server.asked < 1 + 4 * 2:  # noqa: ASYNC110 - a question may be read after it was given up
                await asyncio.sleep(0.01)
        assert (storing.done(), server.asked) == (False, 1 + 4 * 2)
        server.answers.set()
        await asyncio.wait_for(storing, BOUND_S)


async def test_a_download_that_is_cut_off_is_no_file(object_store_settings, tmp_path):
    async with answering(object_store_settings, CUT_OFF) as (store, _):
        with pytest.raises(MedialaneError) as caught:
            await store.download("uploads/x", tmp_path / "file")
    assert caught.value.code is ErrorCode.OBJECT_STORE_UNAVAILABLE
