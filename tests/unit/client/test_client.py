"""The client against a small server that answers with what the wire allows, and with what it does not."""

import asyncio
import uuid
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import msgspec
import pytest
from aiohttp import web
from support.answering import ASSET, NOON, TRACE, later
from support.servers import serving

from cli import client as c
from cli.client import transport, uploads
from connectors.postgres.idempotency import CLAIM_S
from schemas.errors import ERRORS, ErrorCode

IN_USE = (409, {"message": "being worked on", "code": "idempotency_key_in_use"})


def presigned(server, **change):
    data = {
        "uploadUrl": server.url + "/bucket/a%2Bb?X-Amz-Signature=a%2Fb%3D",
        "assetId": ASSET,
        "method": "PUT",
        "headers": {"Content-Type": "image/jpeg"},
        "objectPath": "uploads/x",
        "publicUrl": "http://x/y",
        "expiresAt": 1_700_000_000,
    }
    return {"status": "success", "data": data | change}


async def test_presign_speaks_the_wire_and_reads_it(server, client):
    server.answers = [(200, presigned(server))]
    answer = await client.presign("a.jpg", "image/jpeg", 5)
    method, path, headers, body = server.asked[0]
    assert (method, path) == ("POST", "/api/v1/storage/presign")
    assert headers["Authorization"] == "Bearer mp_abc_secret"
    assert body == b'{"fileName":"a.jpg","contentType":"image/jpeg","size":5}'
    assert answer.asset_id == uuid.UUID(ASSET)
    assert answer.expires_at == 1_700_000_000


@pytest.mark.parametrize("as_file", [False, True])
async def test_put_keeps_the_signed_address_and_sends_only_the_content_type(server, client, tmp_path, as_file):
    server.answers = [(200, presigned(server)), (200, b"")]
    answer = await client.presign("a.jpg", "image/jpeg", 5)
    content: bytes | Path = b"12345"
    if as_file:
        content = tmp_path / "a.jpg"
        content.write_bytes(b"12345")
    await client.put(answer, content, "image/jpeg")
    method, path, headers, body = server.asked[1]
    assert (method, path, body) == ("PUT", "/bucket/a%2Bb?X-Amz-Signature=a%2Fb%3D", b"12345")
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["Content-Length"] == "5"
    assert "Authorization" not in headers
    assert "Transfer-Encoding" not in headers


async def test_complete_returns_the_trace(server, client):
    server.answers = [(200, {"status": "success", "message": "Asset marked as uploaded"})]
    done = await client.complete(uuid.UUID(ASSET))
    assert done.message == "Asset marked as uploaded"
    assert done.traceparent == TRACE


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, c.BadRequestError),
        (401, c.UnauthenticatedError),
        (403, c.ForbiddenError),
        (404, c.NotFoundError),
        (409, c.ConflictError),
        (422, c.RefusedError),
        (429, c.RateLimitedError),
        (418, c.ApiError),
        (503, c.ServerError),
    ],
)
async def test_each_status_has_its_exception(server, client, status, kind):
    server.answers = [(status, {"status": "error", "message": "no", "code": "invalid_request", "field": "size"})]
    with pytest.raises(kind) as caught:
        await client.presign("a.jpg", "image/jpeg", 0)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.message, error.code, error.field) == (status, "no", "invalid_request", "size")
    assert error.trace_id == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("status", [429, 503])
async def test_a_call_comes_again_when_it_is_told_to(server, client, status):
    server.answers = [later(status, 0), later(status, 0), (200, presigned(server))]
    assert (await client.presign("a.jpg", "image/jpeg", 5)).asset_id == uuid.UUID(ASSET)
    assert {(method, body) for method, _, _, body in server.asked} == {
        ("POST", b'{"fileName":"a.jpg","contentType":"image/jpeg","size":5}')
    }
    assert len(server.asked) == 3


def keys_sent(server):
    return [headers.get("Idempotency-Key") for _, _, headers, _ in server.asked]


async def test_a_post_is_repeated_under_its_key_and_each_has_another(server, client):
    made = (201, {"data": {"id": ASSET, "prefix": "abc", "scopes": [], "createdAt": "2026-01-01T00:00:00Z"}})
    server.answers = [later(503, 0), made, made, (200, {"data": []})]
    await client.mint_key([])
    await client.mint_key([])
    await client.keys()
    first, again, second, get = keys_sent(server)
    assert uuid.UUID(first)
    assert (first == again, first == second, get) == (True, False, None)


async def test_keys_are_listed_to_their_last_page(server, client):
    one = {"id": ASSET, "prefix": "abc", "scopes": [], "createdAt": NOON}
    server.answers = [(200, {"data": [one, one], "nextCursor": "x"}), (200, {"data": [one], "nextCursor": None})]
    assert len(await client.keys()) == 3
    assert [path for _, path, *_ in server.asked] == ["/api/v1/keys", "/api/v1/keys?cursor=x"]


MADE = {
    "id": ASSET, "prefix": "abc", "scopes": [], "url": "http://x", "events": [], "enabled": True, "createdAt": NOON,
    "assetId": ASSET, "fileName": "a.jpg", "contentType": "image/jpeg", "size": 5, "sha256": "",
    "deliveryId": ASSET, "eventId": ASSET, "type": "asset.ready",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("presign", ("a.jpg", "image/jpeg", 5)),
        ("pull", ("https://example.com/a.jpg",)),
        ("begin_parts", ("a.jpg", "image/jpeg", 5)),
        ("mint_key", ([],)),
        ("rotate_key", (uuid.UUID(ASSET),)),
        ("register_webhook", ("http://x", [])),
        ("rotate_webhook_secret", (uuid.UUID(ASSET),)),
        ("test_webhook", (uuid.UUID(ASSET),)),
        ("cancel_asset", (uuid.UUID(ASSET),)),
        ("process_asset", (uuid.UUID(ASSET),)),
    ],
)
async def test_what_must_not_be_done_twice_is_asked_for_under_the_callers_key(server, client, name, arguments):
    data = presigned(server)["data"] | MADE
    made = (200, {"data": data, "key": "uploads/x", "uploadId": ASSET})
    server.answers = [later(503, 0), made, made]
    first = await getattr(client, name)(*arguments, idempotency_key="order-7")
    assert await getattr(client, name)(*arguments, idempotency_key="order-7") == first
    assert keys_sent(server) == ["order-7"] * 3


async def test_an_upload_is_announced_under_the_callers_key(server, client, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    server.answers = [(200, {"key": "uploads/x", "uploadId": ASSET}), (200, presigned(server)), (200, {})]
    await c.PartsUpload(client, path, "image/jpeg").begin(idempotency_key="order-7")
    await client.upload("a.jpg", "image/jpeg", path, idempotency_key="order-8")
    assert keys_sent(server) == ["order-7", "order-8", None]


async def test_a_pull_is_waited_for_longer_than_anything_else():
    begun, answered = asyncio.Event(), asyncio.Event()

    async def handle(request):
        begun.set()
        await answered.wait()
        return web.json_response({"data": MADE})

    async with serving(handle) as url, c.MedialaneClient(url, "mp_a_b", timeout_s=0.1) as client:
        pulling = asyncio.create_task(client.pull("https://example.com/a.jpg"))
        await begun.wait()
        with pytest.raises(c.UnreachableError):  # begun later, and given up before
            await client.usage()
        answered.set()
        assert (await pulling).asset_id == uuid.UUID(ASSET)


def test_a_pull_is_waited_for_as_long_as_the_api_may_work_on_it():
    assert uploads._LONGEST_PULL_S >= CLAIM_S


async def test_a_key_that_the_try_before_still_holds_is_waited_for(server, client, monkeypatch):
    monkeypatch.setattr(transport, "_IN_USE_S", 0.0)
    server.answers = [later(503, 0), IN_USE, (200, presigned(server))]
    await client.presign("a.jpg", "image/jpeg", 5)
    assert len(set(keys_sent(server))) == 1


@pytest.fixture
def clock(monkeypatch):
    """Time as the client sees it, which passes by its pauses only; `clock.passes` is told of each."""
    clock = SimpleNamespace(now=0.0, passes=lambda: None)

    async def sleep(seconds):
        clock.now += seconds
        clock.passes()

    monkeypatch.setattr(transport, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(transport, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def test_a_key_whose_request_died_is_waited_for_until_its_claim_has_ended(server, client, clock):
    clock.passes = lambda: server.answers.append((200, presigned(server)) if clock.now > CLAIM_S else IN_USE)
    server.answers = [later(503, 1)]
    assert (await client.presign("a.jpg", "image/jpeg", 5)).asset_id == uuid.UUID(ASSET)
    assert len(set(keys_sent(server))) == 1


async def test_a_key_that_stays_in_use_is_not_waited_for_for_ever(server, client, clock):
    server.answers = [IN_USE] * 1000
    with pytest.raises(c.ConflictError):
        await client.presign("a.jpg", "image/jpeg", 5)
    assert CLAIM_S < clock.now < 2 * CLAIM_S


@pytest.mark.parametrize(("seconds", "tries"), [(0, 10), (3600, 1)])
async def test_it_does_not_come_again_for_ever(server, client, seconds, tries):
    server.answers = [later(429, seconds)] * 50
    with pytest.raises(c.RateLimitedError) as caught:
        await client.assets()
    assert caught.value.retry_after_s == seconds
    assert len(server.asked) == tries


async def test_a_list_that_is_too_slow_is_not_asked_for_again(server, client):
    status = ERRORS[ErrorCode.QUERY_TIMEOUT].status
    server.answers = [(status, {"message": "narrow it", "code": "query_timeout"}, {"Retry-After": "0"})] * 10
    with pytest.raises(c.RefusedError):
        await client.assets()
    assert len(server.asked) == 1


async def test_an_error_that_is_no_json_is_still_typed(server, client):
    server.answers = [(502, b"<html>bad gateway")]
    with pytest.raises(c.ServerError, match="bad gateway"):
        await client.asset(uuid.UUID(ASSET))


@pytest.mark.parametrize("body", [b"<html>hello", b"[1]", {"status": "success", "data": {"assetId": "no uuid"}}])
async def test_an_answer_of_something_else_is_named(server, client, body):
    server.answers = [(200, body)]
    with pytest.raises(c.BadAnswerError):
        await client.presign("a.jpg", "image/jpeg", 5)


@pytest.mark.parametrize("body", [b"[]", {}, {"presignedUrls": {"one": "http://x/y"}}])
async def test_addresses_of_parts_that_are_none_are_named(server, client, body):
    server.answers = [(200, body)]
    with pytest.raises(c.BadAnswerError):
        await client.part_addresses(uuid.UUID(ASSET), [1])


async def test_nobody_there_is_unreachable(unused_tcp_port):
    async with c.MedialaneClient(f"http://127.0.0.1:{unused_tcp_port}", "mp_a_b") as client:
        with pytest.raises(c.UnreachableError, match="got no answer"):
            await client.assets()


def test_a_cause_that_says_nothing_is_named():
    with pytest.raises(c.UnreachableError, match=r"no answer: TimeoutError$"), transport.reaching("no answer"):
        raise TimeoutError


async def test_the_store_refusing_bytes_is_typed(server, client):
    server.answers = [(200, presigned(server)), (403, b"<Error><Code>SignatureDoesNotMatch")]
    answer = await client.presign("a.jpg", "image/jpeg", 5)
    with pytest.raises(c.StoreRefusedError, match="SignatureDoesNotMatch") as caught:
        await client.put(answer, b"12345", "image/jpeg")
    assert caught.value.status == 403


async def test_a_session_of_the_callers_own_stays_open(server):
    async with aiohttp.ClientSession() as session:
        async with c.MedialaneClient(server.url, "mp_a_b", session=session) as client:
            server.answers = [(200, {"data": []})]
            assert await client.webhooks() == []
        assert not session.closed


VARIANT = {
    "profile": "hero", "contentType": "image/webp", "width": 1, "height": 2, "size": 3, "sha256": "", "url": "http://x/y",
    "urlExpiresAt": NOON,
}  # fmt: skip


async def test_a_variant_is_asked_for_by_name_and_format_without_following_to_its_bytes(server, client):
    server.answers = [(307, {"status": "success", "data": VARIANT}, {"Location": server.url + "/bytes"})]
    found = await client.variant(uuid.UUID(ASSET), "hero", accept="image/webp")
    assert (found.profile, found.url) == ("hero", "http://x/y")
    [(method, path, headers, _)] = server.asked
    assert (method, path, headers["Accept"]) == ("GET", f"/api/v1/assets/{ASSET}/variants/hero", "image/webp")


@pytest.mark.parametrize("body", [{"status": "success", "data": VARIANT}, b"<html>moved"])
async def test_a_redirect_of_anything_else_is_no_answer_of_the_api(server, client, body):
    for status in (301, 302, 303, 307, 308):
        server.answers = [(status, body, {"Location": "https://elsewhere/"})]
        with pytest.raises(c.BadAnswerError, match=f"{status}, to https://elsewhere/"):
            await client.revoke_key(uuid.UUID(ASSET))


async def test_a_pull_says_what_is_known_and_nothing_else(server, client):
    data = {"assetId": ASSET, "fileName": "a.jpg", "contentType": "image/jpeg", "size": 3, "sha256": "00"}
    server.answers = [(201, {"status": "success", "data": data})]
    pulled = await client.pull("https://example.com/a.jpg", tags=["beach"], metadata={"album": "2026"})
    assert (pulled.asset_id, pulled.size) == (uuid.UUID(ASSET), 3)
    assert msgspec.json.decode(server.asked[0][3]) == {
        "url": "https://example.com/a.jpg", "tags": ["beach"], "metadata": {"album": "2026"}
    }  # fmt: skip


async def test_a_key_is_followed_by_one_that_lives_as_long_as_is_said(server, client):
    made = {"id": ASSET, "prefix": "abc", "scopes": [], "createdAt": "2026-01-31T12:00:00Z", "key": "mp_abc_x"}
    server.answers = [(201, {"status": "success", "data": made})] * 2
    await client.rotate_key(uuid.UUID(ASSET), overlap_s=60)
    await client.rotate_key(uuid.UUID(ASSET), overlap_s=60, expires_in_s=3600)
    assert [body for *_, body in server.asked] == [b'{"overlap":60}', b'{"overlap":60,"expiresIn":3600}']


async def test_usage_is_read_by_day(server, client):
    sums = {
        "jobsDone": 1, "jobsFailed": 0, "cpuS": 0.5, "uploads": 1, "bytesIn": 2, "bytesOut": 3, "meanWaitS": 0.1,
        "longestWaitS": 0.2, "stages": [],
    }  # fmt: skip
    days = [sums | {"day": "2026-01-31"}]
    server.answers = [(200, {"status": "success", "data": {"since": "2026-01-31", "total": sums, "days": days}})]
    usage = await client.usage(days=3)
    assert server.asked[0][1] == "/api/v1/usage?days=3"
    assert (usage.total.cpu_s, usage.days[0].day.isoformat()) == (0.5, "2026-01-31")
